"""RT-01: SIGHUP with broken, invalid and half-written configurations, under traffic."""

import random
from typing import Any

import yaml

from hermesd.adapter.loading import plugins
from hermesd.route import RouteTable
from hermesd.settings import Environment, load_text

MUTANTS = 220
_ODD = ("", "\n", " ", "\t", ":", "- ", "{", "]", '"', "'", "&a ", "*a", "!!x ", "#", "\0", "é", "0x1f", "null", "- -")


def mutate(text: str, dice: random.Random) -> str:
    """One accident: cut short, cut out, written over, doubled, swapped or indented anew."""
    at, to = sorted(dice.sample(range(len(text)), 2))
    lines = text.splitlines(keepends=True)
    a, b = dice.sample(range(len(lines)), 2)
    match dice.randrange(6):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + text[min(to, at + dice.randrange(1, 30)) :]
        case 2:
            return text[:at] + dice.choice(_ODD) + text[at + dice.randrange(3) :]
        case 3:
            return "".join([*lines[:a], lines[b], *lines[a:]])
        case 4:
            lines[a], lines[b] = lines[b], lines[a]
            return "".join(lines)
        case _:
            lines[a] = " " * dice.randrange(5) + lines[a].lstrip()
            return "".join(lines)


async def test_no_message_is_routed_by_a_part_of_a_configuration(two_topics: Any) -> None:
    """220 mutated files and SIGHUPs under traffic: a bad one changes nothing, and each turn follows one whole file."""
    dice = random.Random(20)
    home, forum = two_topics.home, str(two_topics.forum.id)
    for n in range(20):
        two_topics.home.settings["routes"]["telegram"][f"-100{n}"] = {str(m): "finance" for m in range(1, 6)}
    two_topics.profile("finance")
    home.save()
    good = home.config.read_text()
    environment, installed = Environment(hermesd_config=home.config, hermesd_state=home.state), plugins()
    whole: dict[int, RouteTable] = {}
    refused = 0
    async with home.running() as daemon:
        live = daemon.ground.live
        whole[live.snapshot.epoch] = live.snapshot.routes
        bots = live.snapshot.settings.bots
        for n in range(MUTANTS):
            text = mutate(good, dice)
            expected = load_text(text, file=str(home.config), env=environment, plugins=installed)
            if expected.settings is not None and expected.settings.bots != bots:
                continue  # a valid file about other bots would end the traffic, rightly
            before = live.snapshot
            home.text(text)
            two_topics.alice.says(two_topics.forum, f"m{n}", dice.choice((6, 13, 9)))
            status = await daemon.hangup()
            if expected.settings is None:
                refused += 1
                assert "rejected" in status
                assert live.snapshot is before
                assert daemon.reloader.last.rejected[0].startswith(f"{home.config}:")
            else:
                whole[live.snapshot.epoch] = expected.settings.routes
        await two_topics.settled(daemon)
        turns = await daemon.read(
            lambda tx: tx.execute("SELECT epoch, profile, thread_id, user_id FROM turn").fetchall()
        )
    assert refused > MUTANTS / 3
    assert len(turns) > MUTANTS / 2
    for epoch, profile, thread, user in turns:
        place = bots[0].platform, forum, thread
        assert profile == _routed(whole[epoch], place, user)


def _routed(table: RouteTable, place: tuple[str, str, str], user: str) -> str | None:
    from hermesd.address import AdapterKey, Address

    platform, chat, thread = place
    return table.resolve(Address(AdapterKey(platform, "main"), chat, thread), user=user).profile


async def test_a_bad_file_is_named_with_its_place_in_report_log_and_status(two_topics: Any) -> None:
    """The reason stands as file:line:column in the reload's report, in `/status` for admins and in the log."""
    home = two_topics.home
    good = home.config.read_text()
    async with home.running() as daemon:
        home.text(good + "limitz: {turns: 3}\n")
        report = await daemon.reload()
        line = good.count("\n") + 1
        (said,) = report["rejected"]
        assert said.startswith(f"{home.config}:{line}:1")
        assert "limits" in said
        assert report["epoch"] == 1
        assert said in (await daemon.call("status"))["last_reload"]["rejected"]
        assert "limitz" in await two_topics.asks("/status", thread=9)
        assert any(said in entry.get("rejected", ()) for entry in daemon.log)
        assert await two_topics.asks("hello", thread=6) == "echo: hello"


async def test_an_allowlist_is_never_weaker_than_the_last_good_file(two_topics: Any) -> None:
    """While the file is broken in the very allowlist, the people of the last good one, and no others, are heard."""
    home = two_topics.home
    text = home.config.read_text()
    mallory = two_topics.telegram.user(666, "Mallory")
    async with home.running() as daemon:
        for broken in (
            text.replace("- '111'", "- everyone"),
            text.replace("allow:", "alow:"),
            text[: text.index("'111'") + 3],
        ):
            assert broken != text
            home.text(broken)
            assert "rejected" in await daemon.hangup()
            mallory.says(two_topics.forum, "let me in", 6)
            assert await two_topics.asks("hello", thread=6) == "echo: hello"
        await two_topics.settled(daemon)
    assert all(request.last_user == "hello" for request in two_topics.models.requests)
    assert yaml.safe_load(text)["bots"][0]["access"]["allow"] == ["111"]
