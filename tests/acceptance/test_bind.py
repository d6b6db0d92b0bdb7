"""`/bind`: an admin routes a place from the place itself; the file keeps its comments."""

from typing import Any

FORUM = "-1003961179976"


async def test_bind_writes_the_route_keeps_comments_and_takes_it_up(two_topics: Any) -> None:
    """`/bind systems` in an unmapped topic: the next message there is systems', and every comment is where it was."""
    home = two_topics.home
    text = (
        "# who answers where\n"
        + home.config.read_text().replace("routes:\n", "routes:  # edited by hand\n")
        + "# end\n"
    )
    assert "edited by hand" in text
    home.text(text)
    async with home.running() as daemon:
        assert "Profile: default" in await two_topics.asks("/profile", thread=9)
        answer = await two_topics.asks("/bind systems", thread=9)
        assert "systems" in answer
        assert "Profile: systems" in await two_topics.asks("/profile", thread=9)
        assert await two_topics.asks("hello", thread=9) == "echo: hello"
        assert two_topics.models.requests[-1].key == "key-of-systems"
        rules = [event["kind"] for event in await daemon.call("audit_tail", limit=20)]
    now = home.config.read_text()
    for kept in ("# who answers where\n", "routes:  # edited by hand\n", "# end\n"):
        assert kept in now
    assert set(text.splitlines()) <= set(now.splitlines())
    assert "route.bound" in rules
    async with home.running():
        assert "Profile: systems" in await two_topics.asks("/profile", thread=9)
        assert "Profile: career" in await two_topics.asks("/profile", thread=6)


async def test_bind_moves_a_topic_that_has_a_route(two_topics: Any) -> None:
    """`/bind career` in systems' topic changes that line and no other."""
    before = two_topics.home.config.read_text().splitlines()
    async with two_topics.home.running():
        await two_topics.asks("/bind career", thread=13)
        assert "Profile: career" in await two_topics.asks("/profile", thread=13)
    now = two_topics.home.config.read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, now, strict=True) if old != new]
    assert [new.strip().replace('"', "'") for _, new in changed] == ["'13': career"]


async def test_bind_is_for_admins_and_for_profiles_that_exist(two_topics: Any) -> None:
    """Bob may talk and not bind; an unknown profile is refused with the known ones; the file is not touched."""
    main = two_topics.bots["main"]
    two_topics.home.telegram("main", main.token, two_topics.telegram.url, allow=["222"], admins=["111"])
    before = two_topics.home.config.read_bytes()
    bob = two_topics.telegram.user(222, "Bob")
    async with two_topics.home.running():
        bob.says(two_topics.forum, "/bind systems", 9)
        assert "admins" in (await two_topics.answer(lambda post: post.thread == 9)).text
        refusal = await two_topics.asks("/bind carreer", thread=9)
        assert "no profile" in refusal.lower()
        assert "career" in refusal
    assert two_topics.home.config.read_bytes() == before


async def test_bind_into_a_broken_file_changes_nothing(two_topics: Any) -> None:
    """While the file on disk has errors, `/bind` refuses, says so, and leaves every byte."""
    async with two_topics.home.running():
        broken = two_topics.home.config.read_text() + "limitz: {}\n"
        two_topics.home.text(broken)
        answer = await two_topics.asks("/bind systems", thread=9)
        assert "limitz" in answer or "would not load" in answer
        assert "Profile: default" in await two_topics.asks("/profile", thread=9)
    assert two_topics.home.config.read_text() == broken
