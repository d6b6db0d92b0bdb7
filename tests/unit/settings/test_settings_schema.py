"""What is committed beside the code: the sample, its schema, the sample profiles."""

import json
import random
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from hermesd.address import Address
from hermesd.settings import is_profile_name, load, load_text, schema

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "config" / "hermesd.yaml"


class Checkout:
    """The sample profiles of the checkout stand in for a state directory."""

    state = ROOT


@pytest.fixture(scope="module")
def installed() -> dict[str, Any]:
    return {found.name: found.load() for found in entry_points(group="hermesd.adapters")}


def test_the_committed_schema_is_the_generated_one(installed: dict[str, Any]) -> None:
    """`make schema` would change nothing."""
    assert (ROOT / "config" / "hermesd.schema.json").read_text() == schema.text(installed)


def test_the_sample_works_without_any_key(installed: dict[str, Any]) -> None:
    """The sample loads without a problem, holds the web bot alone, and its rooms have their profiles."""
    settings = load(SAMPLE, env=Checkout(), plugins=installed)
    assert not settings.problems
    found = settings.required()
    assert [(bot.platform, bot.bot_id) for bot in found.bots] == [("web", "local")]
    for room in ("backend", "frontend", "qa", "director"):
        assert found.routes.resolve(Address.parse(f"web/local:{room}")).profile == room
    assert found.routes.resolve(Address.parse("web/local:home")).profile == "default"


def uncommented() -> str:
    """The sample with every commented key switched on."""
    lines = []
    for line in SAMPLE.read_text().splitlines():
        match = re.match(r"^( *)# ((?: *)(?:- [{a-z]|[\"a-z_0-9*-]+\"?:(?: |$)).*)$", line)
        lines.append(match[1] + match[2] if match and "schema" not in line else line)
    return "\n".join(lines) + "\n"


def test_every_commented_key_of_the_sample_is_valid(installed: dict[str, Any]) -> None:
    """Whoever removes the `#` gets what the comment promises; the two forms of routes exclude each other."""
    text = re.sub(r"^ +- \{(name|address).*\n", "", uncommented(), flags=re.MULTILINE)
    assert "turns_per_profile: 8\n" in re.sub(" +#.*", "", text)
    loaded = load_text(text, file="c.yaml", env=Checkout(), plugins=installed)
    assert not loaded.problems, "\n".join(map(str, loaded.problems))
    listed = "".join(line[2:] + "\n" for line in uncommented().splitlines() if re.match(r" +- \{(name|address)", line))
    bots = "bots: [{platform: telegram, bot_id: main, token: '${T}'}]\nroles: {director: {}}\nroutes:\n"
    loaded = load_text(bots + listed, file="c.yaml", env=Checkout(), plugins=installed)
    assert [problem.level for problem in loaded.problems] == ["warning"], "\n".join(map(str, loaded.problems))


def test_the_schema_takes_what_the_loader_takes(installed: dict[str, Any]) -> None:
    """An editor with the schema accepts the sample, its commented keys, and both snippets of the request."""
    generated = json.loads(schema.text(installed))
    Draft202012Validator.check_schema(generated)
    validator = Draft202012Validator(generated)
    snippets = (
        "bots: [{platform: web, bot_id: a}]\ngateway: {profile_routes: {telegram: {'-1': {'6': career}}}}",
        "bots: [{platform: web, bot_id: a}]\ntelegram: {topic_profiles: {'-1:6': career}}",
        (
            "bots: [{platform: telegram, bot_id: a, token: {file: x}, access: {allow: [111]}}]\n"
            "routes: [{platform: telegram, chat_id: -1, profile: a}]"
        ),
    )
    mapped = re.sub(r"^ +- \{(name|address).*\n", "", uncommented(), flags=re.MULTILINE)
    for text in (SAMPLE.read_text(), mapped, *snippets):
        assert not list(validator.iter_errors(yaml.safe_load(text)))
    for text in (
        "bots: []",
        "bots: [{platform: web, bot_id: a}]\nlimit: {}",
        "bots: [{platform: telegram, bot_id: a}]",
    ):
        assert list(validator.iter_errors(yaml.safe_load(text)))


def test_the_sample_profiles_are_complete() -> None:
    """Each sample home has the Hermes files, a name that is allowed, and no model, so that it rehearses."""
    homes = sorted(path for path in (ROOT / "profiles").iterdir() if path.is_dir())
    assert [home.name for home in homes] == ["backend", "default", "director", "frontend", "qa"]
    for home in homes:
        assert is_profile_name(home.name)
        assert yaml.safe_load((home / "config.yaml").read_text()) is None
        assert 200 < len((home / "SOUL.md").read_text()) < 2000
        assert len((home / "USER.md").read_text()) < 1375
        assert (home / "skills").is_dir()


def test_the_documented_errors_are_the_real_ones(installed: dict[str, Any]) -> None:
    """The example of docs/configuration.md gives exactly the problems printed beside it."""
    text = (ROOT / "docs" / "configuration.md").read_text().split("## Errors")[1]
    example, printed = re.findall(r"```(?:yaml)?\n(.*?)```", text, re.DOTALL)[:2]
    loaded = load_text(example, file="c.yaml", env=Checkout(), plugins=installed, profiles=["default"])
    shown = " ".join(printed.split())
    for problem in loaded.problems:
        assert f"{problem.line}:{problem.column} {problem.level} {problem.key}: {problem.message}" in shown
        assert not problem.hint or f"→ {problem.hint}" in shown
    assert f"refused: {len(loaded.problems)} problems" in shown


def test_the_documented_routes_load(installed: dict[str, Any]) -> None:
    """Both blocks of the chapter on routes load as they are printed."""
    text = (ROOT / "docs" / "configuration.md").read_text().split("## Routes")[1]
    bot = "  - {{platform: telegram, bot_id: {0}, token: {{env: {0}}}}}\n"
    bots = "bots:\n" + bot.format("main") + bot.format("ops")
    profiles = ["default", "career", "finance", "research", "systems"]
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[:2]:
        loaded = load_text(bots + block, file="c.yaml", env=Checkout(), plugins=installed, profiles=profiles)
        assert not loaded.errors, "\n".join(map(str, loaded.errors))


def mutated(rng: random.Random, text: str) -> str:
    """One to five wounds: a character, a line, a word, an indentation, a cut."""
    for _ in range(rng.randint(1, 5)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                where = rng.randrange(len(text) + 1)
                text = (
                    text[:where] + rng.choice("\t :{}[]\"'&*!|>%-?,#\x00\ud800é\n") + text[where + rng.randint(0, 2) :]
                )
                continue
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 2:
                del lines[at]
            case 3:
                lines[at] = " " * rng.randint(0, 6) + lines[at].lstrip()
            case 4:
                lines[at] = lines[at].split(": ")[0] + f": {rng.choice(VALUES)}"
            case 5:
                lines[at] = lines[at].replace("# ", "", 1)
            case 6:
                return text[: rng.randrange(len(text) + 1)]
        text = "\n".join(lines) or " "
    return text


CHARACTERS = "\t :{}[]\"'&*!|>%-?,#\x00\ud800é\n"
VALUES = (
    "", "~", "[]", "{}", "[{}]", "{a: [b]}", "yes", "0x10", "1e309", "-1", "99999999999999999999999", "null", "'*'",
    "'\\0'", "&a 1", "*a", "!!python/object:os.system x", "{platform: 1}", "[[[[1]]]]", "nan", "'1_0'", "\"\\ud83d\"",
)  # fmt: skip


def test_a_mutated_configuration_gives_problems_never_an_exception(installed: dict[str, Any]) -> None:
    """RT-01, the reading half: thousands of seeded wounds to the sample end in settings or in placed problems."""
    sample, refused = uncommented(), 0
    for seed in range(3000):
        loaded = load_text(mutated(random.Random(seed), sample), file="c.yaml", env=Checkout(), plugins=installed)
        refused += loaded.settings is None
        assert (loaded.settings is None) == bool(loaded.errors)
        assert all(problem.message and problem.file == "c.yaml" for problem in loaded.problems)
        assert all(problem.line and problem.column for problem in loaded.problems)
    assert 500 < refused < 3000
