"""The route table against a brute-force oracle (RT-04), and what people read about it."""

import pickle
import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.address import AdapterKey, Address
from hermesd.errors import OperatorError
from hermesd.message import InboundMessage, Sender
from hermesd.route import AmbiguousRoutes, Route, RouteTable, name_text, platform_key, quoted, route_lines

BOT = AdapterKey("telegram", "main")


def route(profile: str, **fields: str) -> Route:
    names = ("platform", "bot", "guild", "chat", "thread", "user")
    return Route(*(fields.get(name) for name in names), profile, fields.get("role"), fields.get("name", ""))


def message(
    chat: str, thread: str | None = None, user: str = "u", parent: str | None = None, **extra: str
) -> InboundMessage:
    address = Address(
        AdapterKey(extra.get("platform", "telegram"), extra.get("bot", "main")), chat, thread, extra.get("guild")
    )
    return InboundMessage("e", "m", address, "group", Sender(user, "name"), "text", parent_chat=parent)


def oracle(routes: Iterable[Route], default: str | None, inbound: InboundMessage) -> str | None:
    """Every route tried in turn, the best rank kept: slow and plain."""
    address, parent = inbound.address, inbound.parent_chat
    best: tuple[tuple[bool, ...], str] | None = None
    for item in routes:
        for own in (True, False):
            if own:
                chat, thread = address.chat_id, address.thread_id
            elif item.chat is None or parent is None or parent == address.chat_id:
                continue
            else:
                chat, thread = parent, address.thread_id if address.thread_id is not None else address.chat_id
            offered = (address.adapter.platform, address.adapter.bot_id, address.guild, chat, thread, inbound.sender.id)
            if any(want is not None and want != have for want, have in zip(item.key, offered, strict=True)):
                continue
            rank = (
                item.user is not None, item.thread is not None, item.chat is not None and own,
                item.chat is not None and not own, item.guild is not None, item.bot is not None,
                item.platform is not None,
            )  # fmt: skip
            if best is None or rank > best[0]:
                best = (rank, item.profile)
    return best[1] if best is not None else default


few = st.sampled_from(["1", "2"])
maybe = st.none() | few
routes = st.builds(
    lambda platform, bot, guild, chat, thread, user, profile: Route(
        platform, bot, guild, chat, thread if chat is not None else None, user, profile
    ),
    st.sampled_from(["telegram", "discord"]), maybe, maybe, maybe, maybe, maybe, st.sampled_from("abc"),
)  # fmt: skip
messages = st.builds(
    lambda platform, bot, chat, thread, user, parent, guild: message(
        chat, thread, parent=parent, platform=platform, bot=bot, user=user, **({"guild": guild} if guild else {})
    ),
    st.sampled_from(["telegram", "discord"]), few, few, maybe, few, maybe, maybe,
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(routes, max_size=30, unique_by=lambda item: item.key), messages, st.none() | st.just("d"))
def test_the_table_equals_the_oracle(found: list[Route], inbound: InboundMessage, default: str | None) -> None:
    """RT-04: a lookup finds exactly the route that trying all of them finds."""
    table = RouteTable.build(found, default)
    assert table.match(inbound).profile == oracle(found, default, inbound)


def test_a_thousand_seeded_tables_equal_the_oracle() -> None:
    """RT-04: also in larger tables, with every combination of fields."""
    for seed in range(1000):
        rng = random.Random(seed)

        def pick(rng: random.Random = rng) -> str | None:
            return rng.choice([None, "1", "2", "3"])

        found: dict[tuple[str | None, ...], Route] = {}
        for _ in range(rng.randint(0, 60)):
            chat = pick()
            item = Route(
                rng.choice("td"), pick(), pick(), chat, pick() if chat else None, pick(), rng.choice("abcdefgh")
            )
            found.setdefault(item.key, item)
        table = RouteTable.build(found.values(), "z")
        assert len(table) == len(found) == len(list(table))
        assert {item.key for item in table} == set(found)
        for _ in range(10):
            address = Address(AdapterKey(rng.choice("td"), rng.choice("123")), rng.choice("123"), pick(), pick())
            inbound = InboundMessage("e", "m", address, "group", Sender(rng.choice("123"), ""), "", parent_chat=pick())
            assert table.match(inbound).profile == oracle(found.values(), "z", inbound), (seed, inbound)


def test_rank() -> None:
    """User beats thread beats chat beats parent chat beats guild beats bot beats platform."""
    ladder = [
        route("user", platform="telegram", user="u"),
        route("thread", platform="telegram", chat="c", thread="t"),
        route("chat", platform="telegram", chat="c"),
        route("parent", platform="telegram", chat="p"),
        route("guild", platform="telegram", guild="g"),
        route("bot", platform="telegram", bot="main"),
        route("platform", platform="telegram"),
    ]
    inbound = message("c", "t", parent="p", guild="g")
    for step in range(len(ladder)):
        assert RouteTable.build(reversed(ladder[step:]), None).match(inbound).profile == ladder[step].profile
    both = [*ladder, route("both", platform="telegram", user="u", chat="c")]
    assert RouteTable.build(both, None).match(inbound).profile == "both"
    assert (
        RouteTable.build([route("any", chat="c"), route("named", chat="c", bot="main")], None).match(inbound).profile
        == "named"
    )


def test_another_bot_is_another_place() -> None:
    """RT-10: a route of one bot says nothing about the same chat seen by another."""
    table = RouteTable.build([route("a", platform="telegram", bot="main", chat="c")], None)
    assert table.match(message("c")).profile == "a"
    assert table.match(message("c", bot="other")).profile is None


def test_ambiguous_routes_are_refused() -> None:
    """Two routes with one key and two profiles, or two roles, cannot be built; the same twice can."""
    one = route("a", platform="t", chat="1")
    with pytest.raises(AmbiguousRoutes) as error:
        RouteTable.build([one, route("b", platform="t", chat="1"), route("c", platform="t", chat="1")], None)
    assert [(first.profile, second.profile) for first, second in error.value.pairs] == [("a", "b"), ("a", "c")]
    with pytest.raises(AmbiguousRoutes):
        RouteTable.build([one, route("a", platform="t", chat="1", role="boss")], None)
    assert len(RouteTable.build([one, one], None)) == 1
    with pytest.raises(OperatorError, match="names nothing to match"):
        RouteTable.build([route("a")], None)


def test_a_migrated_chat_keeps_its_routes() -> None:
    """ING-12: a route for the former id, or already for the new one, matches messages of either."""
    old, new = "-5", "-1005"
    aliases = {(BOT, old): new, (AdapterKey("telegram", "other"), "x"): new}
    topic, rest = route("a", platform="telegram", chat=old, thread="6"), route("b", platform="telegram", chat=old)
    former = RouteTable.build([topic, rest], "d")
    assert former.match(message(new, "6"), aliases).profile == "a"
    assert former.match(message(new), aliases).profile == "b"
    assert former.match(message(new)).profile == "d"
    assert former.match(message(new, bot="other"), aliases).profile == "d"
    later = RouteTable.build([route("c", platform="telegram", chat=new)], "d")
    assert later.match(message(old), aliases).profile == "c"
    both = RouteTable.build([rest, route("c", platform="telegram", chat=new)], "d")
    assert both.match(message(new), aliases).profile == "c"
    assert "a" in "\n".join(former.explain(message(new, "6"), aliases=aliases))


def test_why_and_explain() -> None:
    """Each candidate is listed in rank order with its outcome; the first match decides."""
    table = RouteTable.build(
        [
            Route("telegram", None, None, "c", "t", None, "career", None, "jobs", "c.yaml:3:5"),
            Route("telegram", None, None, "c", None, None, "finance", None, "", "c.yaml:4:5"),
            Route("telegram", None, "g", None, None, None, "guild", None, "", "c.yaml:5:5"),
        ],
        "default",
    )
    found = table.match(message("c", "t"))
    assert found.why == "route jobs at c.yaml:3:5, by thread + chat + platform"
    assert found.route is not None
    assert (found.route.name, found.route.where) == ("jobs", "c.yaml:3:5")
    assert table.explain(message("c", "t")) == [
        "telegram/main:c:t user u",
        "  thread + chat + platform: jobs → career at c.yaml:3:5: decides",
        "  thread + parent chat + platform: the place has no parent chat",
        "  chat + platform: platform telegram, chat c → finance at c.yaml:4:5: a more specific route decided before",
        "  parent chat + platform: the place has no parent chat",
        "  guild + platform: the message has no guild",
    ]
    assert table.explain(Address(BOT, "x", "t"))[1:] == [
        "  thread + chat + platform: no route for telegram, x, t",
        "  thread + parent chat + platform: the place has no parent chat",
        "  chat + platform: no route for telegram, x",
        "  parent chat + platform: the place has no parent chat",
        "  guild + platform: the message has no guild",
        "  no route matches, so the default profile answers",
    ]
    assert RouteTable.build([], None).match(message("c")).why == "no route matches and default_profile is null"


def test_a_table_travels_between_processes() -> None:
    """A table parsed elsewhere is the same table."""
    table = pickle.loads(pickle.dumps(RouteTable.build([route("a", platform="telegram", chat="c")], "d")))  # noqa: S301  # our own bytes
    assert table.match(message("c")).profile == "a"
    assert repr(table) == "RouteTable(1 routes, default_profile='d')"


def test_tables_are_compared_by_where_messages_go() -> None:
    """A reload that only moved or renamed a route changed no route; another profile, role or key did."""
    one = Route("t", None, None, "c", None, None, "a", None, "x", "c.yaml:1:1")
    table = RouteTable.build([one], "d")
    assert table == RouteTable.build([replace(one, name="y", where="c.yaml:2:2")], "d")
    for other in (replace(one, profile="b"), replace(one, role="r"), replace(one, chat="e"), replace(one, user="u")):
        assert table != RouteTable.build([other], "d")
    assert table != RouteTable.build([one], None)
    assert table != RouteTable.build([one, replace(one, chat="e")], "d")


@pytest.mark.parametrize(
    ("chat", "thread", "bots", "lines"),
    [
        ("-100", "6", ["main"], 'routes:\n  telegram:\n    "-100": {"6": career}'),
        ("-100", None, ["main"], 'routes:\n  telegram:\n    "-100": career'),
        ("-100", "6", ["main", "b"], 'routes:\n  telegram/main:\n    "-100": {"6": career}'),
        ("-100", "6", [], 'routes:\n  telegram/main:\n    "-100": {"6": career}'),
        ("a:b", "5%", ["main"], 'routes:\n  telegram:\n    "a%3Ab": {"5%25": career}'),
    ],
)
def test_whereami_lines(chat: str, thread: str | None, bots: list[str], lines: str) -> None:
    """The pasted line names the bot where there is, or may be, another one."""
    assert route_lines(Address(BOT, chat, thread), "career", bots) == lines


def test_names_in_yaml() -> None:
    """A name is quoted exactly where some reader would not take it for text."""
    assert [name_text(name) for name in ("career", "no", "1e5", "y", "a-b_c")] == [
        "career",
        '"no"',
        '"1e5"',
        '"y"',
        "a-b_c",
    ]
    assert quoted('a"\\\n\u2028é') == '"a\\"\\\\\\u000a\\u2028é"'
    assert platform_key(Address(AdapterKey("my chat", "b/c"), "1"), ()) == "my%20chat/b%2Fc"
