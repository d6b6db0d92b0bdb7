"""`/bind`: a route written into the text, and nothing else changed."""

import difflib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.address import AdapterKey, Address
from hermesd.errors import UserError
from hermesd.route import RouteTable, route_lines
from hermesd.settings import Loaded, MapNode, parse
from hermesd.settings.crosscheck import PLATFORMS
from hermesd.settings.edit import bind
from hermesd.settings.routes import RouteForms

BOT = AdapterKey("telegram", "main")
TOPIC = Address(BOT, "-100", "6")
CHAT = Address(BOT, "-100")


def table(text: str) -> RouteTable:
    root = parse(text, "c.yaml").root
    assert isinstance(root, MapNode)
    problems: list[object] = []
    found = list(RouteForms("c.yaml", problems).routes(root, PLATFORMS))  # type: ignore[arg-type]  # only counted here
    assert not problems, problems
    return RouteTable.build((item.route for item in found if item.enabled), "default")


def changes(before: str, after: str) -> list[str]:
    """The lines that differ, as a diff shows them."""
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line.rstrip("\n") for line in lines if line[0] in "+-"]


@pytest.mark.parametrize(
    ("text", "address", "expected"),
    [
        # nothing there yet
        ("a: 1\n", TOPIC, ["+ ", "+ routes:", "+   telegram:", '+     "-100": {"6": career}']),
        ("routes:\n  # none yet\nz: 1\n", TOPIC, ["+   telegram:", '+     "-100": {"6": career}']),
        ("routes: # mine\nz: 1\n", TOPIC, ["+   telegram:", '+     "-100": {"6": career}']),
        ("routes: {}\nz: 1\n", TOPIC, ["- routes: {}", '+ routes: {telegram: {"-100": {"6": career}}}']),
        ("routes: null # x\n", TOPIC, ["- routes: null # x", '+ routes: {telegram: {"-100": {"6": career}}} # x']),
        ("routes:\n  web: {a: x}\nz: 1\n", TOPIC, ["+   telegram:", '+     "-100": {"6": career}']),
        ("routes:\n  telegram:\n  web: {a: x}\n", TOPIC, ['+     "-100": {"6": career}']),
        ("routes:\n    telegram:\n        '1': x\n", TOPIC, ['+         "-100": {"6": career}']),
        # a chat that has something
        ("routes:\n  telegram:\n    '-100': main # home\n    '5': x\n", TOPIC,
         ["-     '-100': main # home", '+     \'-100\': {"*": main, "6": career} # home']),
        ("routes:\n  telegram:\n    -100:\n      7: x # seven\n      # eight is free\n    5: x\n", TOPIC,
         ['+       "6": career']),
        ("routes: {telegram: {'-100': {'7': x}, '5': x}}\n", TOPIC,
         ["- routes: {telegram: {'-100': {'7': x}, '5': x}}",
          "+ routes: {telegram: {'-100': {'7': x, \"6\": career}, '5': x}}"]),
        ("routes:\n  telegram:\n    '-100': {'6': x}\n", CHAT,
         ["-     '-100': {'6': x}", "+     '-100': {'6': x, \"*\": career}"]),
        # the route is there: only its profile changes
        ("routes:\n  telegram: {-100: {6: finance}} # c\n", TOPIC,
         ["-   telegram: {-100: {6: finance}} # c", "+   telegram: {-100: {6: career}} # c"]),
        ("routes: {telegram: {'-100': x}}", CHAT,
         ["- routes: {telegram: {'-100': x}}", "+ routes: {telegram: {'-100': career}}"]),
        ("telegram:\n  topic_profiles:\n    -100:6: finance # six\n", TOPIC,
         ["-     -100:6: finance # six", "+     -100:6: career # six"]),
        ("gateway: {profile_routes: {telegram: {'-100': {'6': finance}}}}\n", TOPIC,
         ["- gateway: {profile_routes: {telegram: {'-100': {'6': finance}}}}",
          "+ gateway: {profile_routes: {telegram: {'-100': {'6': career}}}}"]),
        ("routes:\n- platform: telegram\n  chat_id: -100\n  thread_id: 6\n  profile: finance\n  name: six\n", TOPIC,
         ["-   profile: finance", "+   profile: career"]),
        # other forms grow in their own way
        ("routes:\n  - {platform: web, chat_id: a, profile: x} # first\n# end\n", TOPIC,
         ['+   - {platform: telegram, chat_id: "-100", thread_id: "6", profile: career}']),
        ("routes: []\n", CHAT, ["- routes: []", '+ routes: [{platform: telegram, chat_id: "-100", profile: career}]']),
        ("gateway:\n  profile_routes:\n    telegram:\n      '1': x\n", TOPIC, ['+       "-100": {"6": career}']),
        ("{bots: []}\n", TOPIC,
         ["- {bots: []}", '+ {bots: [], routes: {telegram: {"-100": {"6": career}}}}']),
    ],
)  # fmt: skip
def test_only_the_route_changes(text: str, address: Address, expected: list[str]) -> None:
    """In every shape of file the difference is the route alone, and it leads where it should."""
    edited = bind(text, address, "career", ["main"])
    assert changes(text, edited) == expected
    assert table(edited).resolve(address).profile == "career"


def test_with_several_bots_the_route_names_its_bot() -> None:
    """The platform's other bots keep what they had in the same chat."""
    text = "routes:\n  telegram:\n    '-100': {'6': finance}\n"
    edited = bind(text, TOPIC, "career", ["main", "other"])
    assert changes(text, edited) == ["+   telegram/main:", '+     "-100": {"6": career}']
    assert table(edited).resolve(Address(AdapterKey("telegram", "other"), "-100", "6")).profile == "finance"
    again = bind(edited, TOPIC, "research", ["main", "other"])
    assert table(again).resolve(TOPIC).profile == "research"
    assert "career" not in again
    listed = bind("routes: []\n", TOPIC, "career", ["main", "other"])
    assert 'bot: "main"' in listed


def test_a_discord_channel_under_its_guild_is_changed_in_place() -> None:
    """A pair that routes a channel of a guild is the route of that channel."""
    text = "routes: {discord: {'9': {'5': x}}}\n"
    place = Address(AdapterKey("discord", "d"), "5", guild="9")
    assert bind(text, place, "career", ["d"]) == "routes: {discord: {'9': {'5': career}}}\n"


def test_line_breaks_and_the_byte_order_mark_stay() -> None:
    """A file from another system keeps its line ends, its mark, and a missing last line break."""
    edited = bind("\ufeffa: 1\r\nroutes:\r\n  telegram:\r\n    '1': x", TOPIC, "career", ["main"])
    assert edited == '\ufeffa: 1\r\nroutes:\r\n  telegram:\r\n    \'1\': x\r\n    "-100": {"6": career}\r\n'


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1\na: 2",
        "- a",
        "",
        "routes: 5\n",
        "a: &x 1\n",
        "a: 1\n...\n",
        "{a: 1, routes: }",
        "{routes: , b: 2}",
    ],
)
def test_what_cannot_be_edited_is_refused_with_the_lines(text: str) -> None:
    """A broken or odd file is left alone, and the person gets the lines to paste."""
    with pytest.raises(UserError) as error:
        bind(text, TOPIC, "career", ["main"])
    assert route_lines(TOPIC, "career", ["main"]) in error.value.hint


def test_the_sample_takes_a_route(load_yaml: Callable[..., Loaded]) -> None:
    """What `/bind` writes into the annotated sample loads, and no comment is lost."""
    from pathlib import Path

    sample = (Path(__file__).parents[3] / "config" / "hermesd.yaml").read_text()
    room = Address(AdapterKey("web", "local"), "my room", "50%:x")
    edited = bind(sample, room, "career", ["local"])
    assert changes(sample, edited) == ['+     "my room": {"50%25%3Ax": career}']
    assert table(edited).resolve(room).profile == "career"


ids = st.sampled_from(["1", "-100", "a:b", "50%", "*", "x y", "é", "no", "0x1"])
places = st.builds(
    Address, st.builds(AdapterKey, st.sampled_from(["telegram", "discord"]), st.just("main")), ids, st.none() | ids
)
bots = st.sampled_from([["main"], ["main", "b"]])


def rendered(shape: Sequence[tuple[str, bool]]) -> str:
    """A file in one of many shapes: which sections, block or flow, comments between."""
    parts = {
        "mapping": (
            "routes:\n  telegram: # t\n    '1': x\n\n    # c\n    'z': {'5': y}\n  # end\n",
            "routes: {telegram: {'1': x, 'z': {'5': y}}}\n",
        ),
        "list": (
            (
                "routes:\n# l\n- {platform: telegram, chat_id: 1, profile: x}\n"
                "-\n  platform: telegram\n  chat_id: z\n  profile: y # y\n"
            ),
            "routes: [{platform: telegram, chat_id: 1, profile: x}]\n",
        ),
        "empty": ("routes: # nothing\n", "routes: {}\n"),
        "gateway": (
            "gateway:\n  profile_routes:\n    telegram:\n      '-100': z\n",
            "gateway: {profile_routes: {discord: {'-100': z}}}\n",
        ),
        "flat": ("telegram:\n  topic_profiles:\n    -1:1: w # w\n", "telegram: {topic_profiles: {'-100:1': w}}\n"),
        "other": ("limits:\n  turns: 5\n\n# the end\n", "limits: {turns: 5} # the end\n"),
    }
    return "".join(parts[name][flow] for name, flow in shape)


shapes = st.lists(
    st.tuples(st.sampled_from(["mapping", "list", "empty", "gateway", "flat", "other"]), st.booleans()),
    min_size=1, max_size=4, unique_by=lambda part: "routes" if part[0] in ("mapping", "list", "empty") else part[0],
)  # fmt: skip


@settings(max_examples=400)
@given(shapes, st.lists(st.tuples(places, st.sampled_from(["career", "no", "7"])), min_size=1, max_size=4), bots)
def test_any_shape_takes_any_routes(
    shape: list[tuple[str, bool]], wishes: list[tuple[Address, str]], platform_bots: list[str]
) -> None:
    """After any number of edits each place leads to its last profile, other routes and all comments are as before."""
    text = before = rendered(shape)
    for address, profile in wishes:
        text = bind(text, address, profile, platform_bots)
    after = table(text)
    for address, profile in dict(wishes).items():
        assert after.resolve(address).profile == profile
    touched = {(address.adapter.platform, address.chat_id, address.thread_id) for address, _ in wishes}
    for item in table(before):
        if (item.platform, item.chat, item.thread) not in touched and item.guild is None:
            assert item.chat is not None
            place = Address(AdapterKey(item.platform or "", "main"), item.chat, item.thread)
            assert after.resolve(place).profile == item.profile
    assert [line.split("#")[1] for line in before.splitlines() if "#" in line] == [
        line.split("#")[1] for line in text.splitlines() if "#" in line
    ]
