"""The configuration of the request, pasted as it stands, loads and routes; so does the list form."""

import textwrap
from typing import Any

import pytest

FORUM = -1003961179976

MAPPING = """
gateway:
  profile_routes:
    telegram:
      "-1003961179976":
        "6": career
        "7": finance
        "9": research
        "13": systems
    discord:
      "789012345":
        "111222333": my-discord-agent
"""

FLATTENED = """
# Or flattened — any equivalent is fine:
telegram:
  topic_profiles:
    "-1003961179976:6": career
    "-1003961179976:9": research
"""

LISTED = """
routes:
  - {name: careers, platform: telegram, bot: main, chat_id: "-1003961179976", thread_id: "6", profile: career}
  - {platform: telegram, chat_id: -1003961179976, thread_id: 9, profile: research}
  - {address: "telegram/main:-1003961179976:13", profile: systems}
  - {platform: telegram, chat_id: "-1003961179976", thread_id: "7", profile: finance, enabled: false}
"""

UNQUOTED = """
routes:
  telegram: {-1003961179976: {6: career, 9: research}}
"""


@pytest.fixture
def house(world: Any) -> Any:
    """One bot and every profile the request names."""
    world.bot("main")
    for name in ("career", "finance", "research", "systems", "my-discord-agent"):
        world.profile(name)
    return world


def paste(world: Any, snippet: str) -> None:
    """The snippet below a configuration that says nothing of routes."""
    world.home.settings.pop("routes", None)
    world.home.save()
    world.home.text(world.home.config.read_text() + textwrap.dedent(snippet))


@pytest.mark.parametrize(
    ("snippet", "expected"),
    [
        (MAPPING, {6: "career", 7: "finance", 9: "research", 13: "systems"}),
        (FLATTENED, {6: "career", 7: "default", 9: "research", 13: "default"}),
        (LISTED, {6: "career", 7: "default", 9: "research", 13: "systems"}),
        (UNQUOTED, {6: "career", 7: "default", 9: "research", 13: "default"}),
        (MAPPING + FLATTENED, {6: "career", 7: "finance", 9: "research", 13: "systems"}),
    ],
    ids=["mapping", "flattened", "list", "unquoted", "both snippets at once"],
)
async def test_a_form_of_the_request_routes_every_topic(house: Any, snippet: str, expected: dict[int, str]) -> None:
    """Each form sends each topic to the profile it names, in `/profile` and in the key the model is asked with."""
    paste(house, snippet)
    async with house.home.running():
        for thread, profile in expected.items():
            assert f"Profile: {profile}" in await house.asks("/profile", thread=thread)
            await house.asks(f"hello {thread}", thread=thread)
    assert {r.last_user: r.key for r in house.models.requests} == {
        f"hello {thread}": f"key-of-{profile}" for thread, profile in expected.items()
    }


async def test_the_discord_route_of_the_request_is_kept(house: Any) -> None:
    """The request's Discord pair loads beside Telegram although no Discord bot is configured, and can be looked up."""
    paste(house, MAPPING)
    async with house.home.running() as daemon:
        routes = await daemon.call("routes")
        found = await daemon.call("explain", address="discord/any:789012345:111222333")
    assert {route["profile"] for route in routes} == {"career", "finance", "research", "systems", "my-discord-agent"}
    assert found["profile"] == "my-discord-agent"
