"""From a file to settings: RT-03's loading half, every problem at once, each with its place."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hermesd.address import AdapterKey, Address
from hermesd.errors import ConfigError
from hermesd.settings import Environment, Loaded, load
from hermesd.settings.document import PROBLEMS

Load = Callable[..., Loaded]


def told(loaded: Loaded) -> list[str]:
    """`line:column key: message` of each problem."""
    return [f"{p.line}:{p.column} {p.key}: {p.message}" for p in loaded.problems]


def profile_at(loaded: Loaded, place: str, **extra: Any) -> str | None:
    return loaded.required().routes.resolve(Address.parse(place), **extra).profile


SEED_NESTED = """
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
SEED_FLAT = """
telegram:
  topic_profiles:
    "-1003961179976:6": career
    "-1003961179976:9": research
"""


def test_the_nested_form_of_the_request_loads_verbatim(load_yaml: Load) -> None:
    """The first snippet, pasted as it is, routes as it says; routes for a platform without a bot only warn."""
    loaded = load_yaml(SEED_NESTED)
    assert [problem.level for problem in loaded.problems] == ["warning"]
    assert profile_at(loaded, "telegram/main:-1003961179976:13") == "systems"
    assert profile_at(loaded, "telegram/main:-1003961179976:99") == "default"
    assert profile_at(loaded, "discord/x:789012345:111222333") == "my-discord-agent"


def test_the_flat_form_of_the_request_loads_verbatim(load_yaml: Load) -> None:
    """The second snippet, pasted as it is, routes as it says."""
    loaded = load_yaml(SEED_FLAT)
    assert not loaded.problems
    assert profile_at(loaded, "telegram/main:-1003961179976:9") == "research"


def test_a_discord_pair_may_be_guild_and_channel(load_yaml: Load) -> None:
    """A pair of the mapping form routes a channel of a guild, a thread of a channel, and a thread that is a chat."""
    loaded = load_yaml(SEED_NESTED)
    table = loaded.required().routes
    bot = AdapterKey("discord", "x")
    assert table.resolve(Address(bot, "111222333", guild="789012345")).profile == "my-discord-agent"
    assert table.resolve(Address(bot, "111222333"), parent_chat="789012345").profile == "my-discord-agent"
    assert table.resolve(Address(bot, "111222333", guild="1")).profile == "default"


@pytest.mark.parametrize("chat", ["-1003961179976", '"-1003961179976"', "'-1003961179976'"])
@pytest.mark.parametrize("thread", ["6", '"6"'])
@pytest.mark.parametrize(
    "form",
    [
        "routes: {{telegram: {{{chat}: {{{thread}: career}}}}}}",
        "routes:\n  telegram:\n    {chat}:\n      {thread}: career",
        "gateway: {{profile_routes: {{telegram: {{{chat}: {{{thread}: career}}}}}}}}",
        "routes: [{{platform: telegram, chat_id: {chat}, thread_id: {thread}, profile: career}}]",
        ("gateway: {{profile_routes: [{{platform: telegram, bot: main, chat_id: {chat}, thread_id: {thread},"
        " profile: career}}]}}"),
    ],
)  # fmt: skip
def test_quoted_and_unquoted_ids_are_one(load_yaml: Load, form: str, chat: str, thread: str) -> None:
    """RT-03: in every form an id routes the same with quotes and without."""
    loaded = load_yaml(form.format(chat=chat, thread=thread))
    assert not loaded.problems
    assert profile_at(loaded, "telegram/main:-1003961179976:6") == "career"


@pytest.mark.parametrize("key", ["-1003961179976:6", '"-1003961179976:6"', "'-1003961179976:6'"])
@pytest.mark.parametrize(
    "form", ["telegram: {{topic_profiles: {{{key}: career}}}}", "routes: {{telegram: {{{key}: career}}}}"]
)
def test_the_flat_key_is_one_in_quotes_and_without(load_yaml: Load, form: str, key: str) -> None:
    """RT-03: `-100…:6` is not read as a number in base 60."""
    text = form.format(key=key)
    if not key.startswith(('"', "'")):
        text = text.replace(": {", ":\n  ").replace("}", "").replace("profiles:\n  ", "profiles:\n    ")
        text = text.replace("telegram:\n  -", "telegram:\n    -")
    assert profile_at(load_yaml(text), "telegram/main:-1003961179976:6") == "career"


@pytest.mark.parametrize(
    "spelling", ["0x10", "1_000", "1e3", "true", "no", "on", "~", "null", "2024-01-01", "1.5", ".5", "''"]
)
@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("routes: {{telegram: {{{x} : career}}}}", "routes.telegram."),
        ("routes: {{telegram: {{'1': {{{x} : career}}}}}}", "routes.telegram.1."),
        ("routes: [{{platform: telegram, chat_id: '1', profile: {x}}}]", "routes[0].profile"),
        ("routes: {{telegram: {{'1': {x}}}}}", "routes.telegram.1"),
        ("bots: [{{platform: web, bot_id: {x}}}]", "bots[0].bot_id"),
    ],
)  # fmt: skip
def test_an_ambiguous_id_is_an_error_with_its_place(load_yaml: Load, form: str, key: str, spelling: str) -> None:
    """RT-03: what readers disagree about is never silently an id, a profile or a name; null is no profile either."""
    loaded = load_yaml(form.format(x=spelling))
    assert loaded.settings is None
    assert any(problem.key.startswith(key) and problem.line == 1 for problem in loaded.errors), told(loaded)


EVERYTHING_WRONG = """\
default_profil: career
default_profile: carer
bots:
  - {platform: telegrm, bot_id: main}
  - {platform: telegram, bot_id: a, token: 123456:AAF, acces: {}, access: {allow: 5, require_mention: yes}}
  - {platform: telegram, bot_id: b, token: "${env:T}", poll_timeout: soon, access: {allow: [everyone], admins: ["@me"]}}
  - {platform: web, bot_id: c, listen: "0.0.0.0:1", access: {observe_only: "true"}}
limits: {turns: many, turn: 5, spend: {usr: {}, user: {money: -1}}}
api: {listen: nowhere}
log: {level: inf}
retention_days: 5
drain_seconds: 1e3
session_triggers: {enabled: true}
routes:
  telegram: {"1": finanze, "2": {6: [a]}, no: career}
  discrod: {"1": career}
  web/d: {"1": career}
gateway: {profile_route: {}}
"""


def test_every_problem_is_listed_at_once(load_yaml: Load) -> None:
    """One reading names all that is wrong, sorted by place, each with line, column and key."""
    loaded = load_yaml(EVERYTHING_WRONG)
    assert loaded.settings is None
    assert list(loaded.problems) == sorted(loaded.problems)
    assert told(loaded) == [
        "1:1 default_profil: unknown key",
        "2:18 default_profile: there is no profile 'carer'",
        "4:16 bots[0].platform: no adapter is installed for platform 'telegrm'",
        (
            '5:44 bots[1].token: expected a reference: "${env:NAME}", {file: PATH} or {credential: NAME}, '
            "not the secret itself"
        ),
        "5:56 bots[1].acces: unknown key",
        "5:83 bots[1].access.allow: expected a list or 'everyone' (user ids, or `everyone`)",
        "5:103 bots[1].access.require_mention: a boolean is written `true` or `false`: `yes`",
        "6:70 bots[2].poll_timeout: expected a whole number",
        "6:93 bots[2].access.allow[0]: not the id of a person",
        "6:113 bots[2].access.admins[0]: not the id of a person",
        "7:5 bots[3]: listening for other machines needs a token",
        "8:17 limits.turns: expected a whole number (turns running at once)",
        "8:23 limits.turn: unknown key",
        "8:40 limits.spend.usr: unknown key",
        "8:63 limits.spend.user.money: expected greater than or equal to 0 (US dollars a day)",
        "9:15 api.listen: 'nowhere' is not an address to listen on: expected IP:PORT, for example 127.0.0.1:8600",
        "10:14 log.level: expected 'debug', 'info', 'warning' or 'error' (least severe line written)",
        (
            "11:17 retention_days: expected greater than or equal to 30 "
            "(how long decided messages and delivered replies are kept)"
        ),
        "12:16 drain_seconds: not a plain decimal number: `1e3`",
        (
            "13:29 session_triggers.enabled: handoffs between roles are not available yet: "
            "the block is kept, nothing is triggered"
        ),
        "15:19 routes.telegram.1: there is no profile 'finanze'",
        "15:37 routes.telegram.2.6: expected a profile",
        "15:43 routes.telegram.no: a boolean is written `true` or `false`: `no`",
        "16:13 routes.discrod.1: unknown platform 'discrod'",
        "18:11 gateway.profile_route: unknown key",
    ]
    hints = {problem.key: problem.hint for problem in loaded.problems}
    assert hints["default_profil"] == "did you mean 'default_profile'?"
    assert hints["bots[0].platform"] == "did you mean 'telegram'?"
    assert hints["bots[1].acces"] == "did you mean 'access'?"
    assert hints["routes.telegram.1"] == "did you mean 'finance'?"
    assert hints["gateway.profile_route"] == "did you mean 'profile_routes'?"
    assert str(loaded.problems[0]) == (
        "c.yaml:1:1: error: default_profil: unknown key (did you mean 'default_profile'?)"
    )


def test_no_value_of_a_secret_is_repeated(load_yaml: Load) -> None:
    """A token written out, of whatever type and under whatever key, appears in no problem."""
    canary = "123456789:AAFcanarycanarycanarycanarycanary99"
    number = "73577357735"
    texts = [
        f"bots: [{{platform: telegram, bot_id: a, token: {canary}}}]",
        f"bots: [{{platform: telegram, bot_id: a, token: {number}}}]",
        f"bots: [{{platform: telegram, bot_id: a, token: {number}e5}}]",
        f"bots: [{{platform: telegram, bot_id: a, token: [{number}, {canary}]}}]",
        f"bots: [{{platform: telegram, bot_id: a, token: {{env: [{canary}], {canary}: 1}}}}]",
        f"bots: [{{platform: telegram, bot_id: a, token: {{file: {number}e5}}}}]",
        f"bots: [{{platform: telegram, bot_id: a, {canary}: 1, token: '${{env:T}}'}}]",
        f"{canary}: x",
        f"bots: {canary}",
        f"bots: [{canary}]",
        f'bots: [{{token: "{canary}',
    ]
    for text in texts:
        loaded = load_yaml(text)
        assert loaded.errors
        said = "\n".join(map(str, loaded.problems))
        assert canary not in said, said
        assert canary[10:] not in said, said
        assert number not in said, said


def test_a_wrong_type_of_a_secret_is_no_secret_told(load_yaml: Load) -> None:
    """ISO-05: pydantic's own messages carry no input either."""
    loaded = load_yaml("bots: [{platform: telegram, bot_id: a, token: {file: {x: hunter2hunter2}}}]")
    assert "hunter2" not in str(ConfigError(loaded.problems))


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("bots: [{platform: web, bot_id: a}, {platform: web, bot_id: a}]", "bots[1].bot_id", "has a bot 'a' already"),
        (
            "bots: [{platform: telegram, bot_id: a, token: {env: T}}, {platform: telegram, bot_id: b, token: '${T}'}]",
            "bots[1].token",
            "has the same token",
        ),
        ("routes: {telegram: {'1': career}, telegram/main: {'1': nobody}}", "routes.telegram/main.1", "no profile"),
        ("routes: {telegram/maim: {'1': career}}", "routes.telegram/maim.1", "telegram has no bot 'maim'"),
        ("routes: [{platform: telegram, bot: x, chat_id: '1', profile: career}]", "routes[0]", "no bot 'x'"),
        ("routes: [{platform: telegram, thread_id: 6, profile: career}]", "routes[0].thread_id", "needs its chat"),
        ("routes: [{chat_id: '1', profile: career}]", "routes[0]", "names no platform"),
        ("routes: [{address: nonsense, profile: career}]", "routes[0].address", "expected platform"),
        ("routes: [{address: 'telegram:1', chat_id: '1', profile: career}]", "routes[0].chat_id", "says this already"),
        ("routes: {telegram: {'*': {'6': career}}}", 'routes.telegram."*"', "threads need one chat"),
        ("routes: {telegram: {'1:2:3': career}}", 'routes.telegram."1:2:3"', "expected CHAT or CHAT:THREAD"),
        ("routes: {telegram: career}", "routes.telegram", "expected chats"),
        ("routes: career", "routes", "expected a mapping"),
        ("routes: {telegram: {'1': Career}}", "routes.telegram.1", "expected the name of a profile"),
        ("routes: {telegram: {'1': ../x}}", "routes.telegram.1", "expected the name of a profile"),
        ("bots: []", "bots", "no bot is configured"),
        ("bots: {platform: web}", "bots", "expected a list"),
        ("default_profile: nobody", "default_profile", "no profile 'nobody'"),
        ("roles: {boss: {profile: nobody}}", "roles.boss.profile", "no profile 'nobody'"),
        ("bots: [{platform: web, bot_id: a, access: {allow: Everyone}}]", "bots[0].access.allow", "'everyone'"),
        ("bots: [{platform: web, bot_id: a, access: {allow: ['*']}}]", "bots[0].access.allow[0]", "not the id"),
        ("bots: [{platform: web, bot_id: a, access: {admins: ['@x']}}]", "bots[0].access.admins[0]", "not the id"),
        ("bots: [{platform: web, bot_id: a, enabled: 1}]", "bots[0].enabled", "expected true or false"),
        ("limits: {turns: '1_0'}", "limits.turns", "plain decimal"),
        ("telegram: {topic_profile: {}}", "telegram.topic_profile", "unknown key"),
        ("", "", "says nothing"),
        ("- a", "", "expected a mapping"),
    ],
)
def test_what_the_whole_file_tells(load_yaml: Load, text: str, key: str, words: str) -> None:
    """Names that must exist and values that must differ are checked, and the problem names the key."""
    loaded = load_yaml("# bots:\n" + text if text in ("", "- a") else text)
    assert loaded.settings is None
    assert any(p.key == key and words in p.message and p.line for p in loaded.errors), told(loaded)


def test_ambiguous_routes_name_both_places(load_yaml: Load) -> None:
    """RT-04: one place with two profiles, in any two forms, is an error at the second place that names the first."""
    loaded = load_yaml(
        "routes:\n  telegram: {'1': {'6': career}}\n"
        "gateway:\n  profile_routes: [{platform: telegram, chat_id: 1, thread_id: 6, profile: finance}]\n"
    )
    (problem,) = loaded.problems
    assert (problem.line, problem.column, problem.key) == (4, 20, "gateway.profile_routes[0]")
    assert "c.yaml:2:20" in problem.message


def test_the_same_route_twice_is_harmless(load_yaml: Load) -> None:
    """A route repeated with the same profile changes nothing."""
    loaded = load_yaml("routes: {telegram: {'1': career}}\ntelegram: {topic_profiles: {'1': career}}")
    assert not loaded.problems
    assert len(loaded.required().routes) == 1


def test_a_route_for_one_bot_leaves_the_other_alone(load_yaml: Load) -> None:
    """`platform/bot` in the mapping form, `bot` in the list form and an address route one bot only."""
    bots = "bots: [{platform: telegram, bot_id: a, token: '${A}'}, {platform: telegram, bot_id: b, token: '${B}'}]\n"
    for form in (
        "routes: {telegram/a: {'1': career}}",
        "routes: [{platform: telegram, bot: a, chat_id: '1', profile: career}]",
        "routes: [{address: 'telegram/a:1', profile: career}]",
    ):
        loaded = load_yaml(bots + form)
        assert profile_at(loaded, "telegram/a:1") == "career"
        assert profile_at(loaded, "telegram/b:1") == "default"
    assert (
        "names no bot, and telegram has 2"
        in told(load_yaml(bots + "routes: [{address: 'telegram:1', profile: career}]"))[0]
    )


def test_the_rest_of_a_chat_and_of_a_platform(load_yaml: Load) -> None:
    """`*` stands for the other threads of a chat and the other chats of a platform."""
    loaded = load_yaml("routes: {telegram: {'1': {'6': career, '*': finance}, '*': research}}")
    assert [profile_at(loaded, f"telegram/main:{place}") for place in ("1:6", "1:7", "1", "2")] == [
        "career", "finance", "finance", "research",
    ]  # fmt: skip


def test_a_disabled_route_is_checked_and_not_used(load_yaml: Load) -> None:
    """`enabled: false` takes a route out, but its profile must still exist."""
    route = "routes: [{{platform: telegram, chat_id: '1', profile: {p}, enabled: false}}]"
    assert profile_at(load_yaml(route.format(p="career")), "telegram/main:1") == "default"
    assert load_yaml(route.format(p="nobody")).settings is None


def test_null_default_profile(load_yaml: Load) -> None:
    """With `default_profile: null` an unmatched conversation has no profile."""
    resolution = load_yaml("default_profile: null").required().routes.resolve(Address.parse("telegram/main:1"))
    assert resolution.profile is None
    assert "default_profile is null" in resolution.why


def test_defaults(load_yaml: Load) -> None:
    """Every key but `bots` has the documented default, and a section of comments is an empty one."""
    settings = load_yaml("limits:\n  # turns: 1\nlog:\napi:\nroles:\nsession_triggers:\nroutes:\n").required()
    limits = settings.limits
    assert (limits.turns, limits.turns_per_profile, limits.lane_queue) == (64, 8, 32)
    assert (limits.spend.user, limits.spend.chat, limits.spend.profile, limits.spend.day) == (None, None, None, None)
    assert (settings.api.listen, settings.drain_seconds, settings.retention_days) == ("127.0.0.1:8642", 25.0, 90)
    assert (settings.default_profile, settings.profiles_dir) == ("default", Path("/nowhere/state/profiles"))
    assert (settings.log.level, settings.log.format) == ("info", "auto")


def test_roles_and_triggers_are_kept(load_yaml: Load) -> None:
    """The roles and the trigger block of the request are read and kept; switched on, they only warn."""
    loaded = load_yaml(
        "session_triggers:\n  enabled: true\n  sources:\n    director:\n"
        "      allowed_targets: [backend, frontend, qa, sre]\n"
        "      max_depth: 1\n      max_concurrent_targets: 4\n      default_risk: low\n"
        "      require_human_confirmation_for: [dangerous, production_write, public_infra]\n"
        "roles: {backend: {aliases: [api], profile: career, address: 'telegram:1', accepts_from: [director]}}\n"
        "routes: [{platform: telegram, chat_id: 1, profile: career, role: backend},"
        " {platform: telegram, chat_id: 2, profile: career, role: bakend}]\n"
    )
    assert [(p.level, p.key) for p in loaded.problems] == [
        ("warning", "session_triggers.enabled"),
        ("warning", "routes[1]"),
    ]
    settings = loaded.required()
    assert settings.session_triggers.sources["director"].require_human_confirmation_for[0] == "dangerous"
    assert settings.routes.resolve(Address.parse("telegram/main:1")).role == "backend"


def test_profiles_are_the_folders_of_profiles_dir(
    tmp_path: Path, plugins: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a given list the folders decide; a missing folder is one problem, not one for each route."""
    monkeypatch.setenv("HERMESD_STATE", str(tmp_path))
    path = tmp_path / "hermesd.yaml"
    path.write_text("bots: [{platform: web, bot_id: a}]\nroutes: {web: {x: career, z: finance}}\n")
    environment = Environment.read()
    missing = load(path, env=environment, plugins=plugins)
    assert [problem.key for problem in missing.problems] == ["profiles_dir"]
    for name in ("default", "career", ".hidden"):
        (tmp_path / "profiles" / name).mkdir(parents=True)
    (tmp_path / "profiles" / "finance").touch()
    found = load(path, env=environment, plugins=plugins)
    assert [problem.message for problem in found.problems] == ["there is no profile 'finance'"]
    (tmp_path / "profiles" / "finance").unlink()
    (tmp_path / "profiles" / "finance").mkdir()
    assert load(path, env=environment, plugins=plugins).settings is not None


def test_the_digest_is_the_files(tmp_path: Path, plugins: Mapping[str, Any], env: Any) -> None:
    """The digest changes with each byte of the file, and is empty where no file is."""
    path = tmp_path / "c.yaml"
    assert load(path, env=env, plugins=plugins, profiles=["default"]).digest == ""
    path.write_text("bots: [{platform: web, bot_id: a}]")
    first = load(path, env=env, plugins=plugins, profiles=["default"])
    path.write_text("bots: [{platform: web, bot_id: a}]\n")
    second = load(path, env=env, plugins=plugins, profiles=["default"])
    assert first.digest == first.required().digest != second.digest


def test_required_raises_every_problem(load_yaml: Load) -> None:
    """Whoever cannot go on without settings gets one error with all problems."""
    with pytest.raises(ConfigError) as error:
        load_yaml("a: 1\nb: 2").required()
    assert len(error.value.problems) == 2


def test_a_hopeless_file_is_not_read_to_its_end(load_yaml: Load) -> None:
    """A file of errors gives a bounded list."""
    assert len(load_yaml("bots: 1\n" + "a: 1\n" * 5000).problems) <= PROBLEMS + 1


def test_loading_in_threads_side_by_side(load_yaml: Load) -> None:
    """Nothing is shared between two readings."""
    results: list[Loaded] = []
    threads = [threading.Thread(target=lambda: results.append(load_yaml(SEED_FLAT))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.digest for result in results}) == 1
    assert all(result.settings is not None for result in results)
