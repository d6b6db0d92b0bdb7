"""The house rules, read from the syntax tree: no ambient state, no lost tasks, no swallowed errors, nothing oversized.

Each rule is a function from one parsed file to what it found; each is tried on a planted violation as well.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path.relative_to(ROOT) for folder in ("hermesd", "adapters") for path in (ROOT / folder).rglob("*.py"))

#: who may start a task outside a task group, and why
TASKS: Mapping[str, str] = {}

#: who may import inside a function, and why; everywhere else imports stand at the top
LAZY: Mapping[str, str] = {
    "adapters/hermesd_web/plugin.py": "`check` reads its settings without loading a web framework",
    "hermesd/gateway/commands/info.py": "the table of commands is made of these handlers",
    "hermesd/testing/telegram/__main__.py": "the fake runs where uvloop is not built",
    "hermesd/cli/app.py": "a command pays only for its own imports",
    "hermesd/cli/place.py": "settings bring pydantic with them; --state does without",
    "hermesd/cli/run.py": "only `run` loads the house and the SDKs",
    "hermesd/cli/audit.py": "a running daemon answers without it",
    "hermesd/cli/routes.py": "a running daemon answers without it",
    "hermesd/cli/profiles.py": "a running daemon answers without it",
    "hermesd/cli/check.py": "settings, profiles and SDKs, for this command alone",
    "hermesd/cli/init.py": "an adapter's SDK, for this command alone",
    "hermesd/cli/doctor.py": "settings, profiles and SDKs, for this command alone",
}

#: who may be longer than 400 lines, or hold a function over 60, and why
LONG: Mapping[str, str] = {}

Found = Iterator[tuple[int, str]]
Rule = Callable[[ast.Module, str], Found]

MUTABLE = {
    "list", "dict", "set", "defaultdict", "deque", "OrderedDict", "Counter", "bytearray", "ChainMap",
    "WeakValueDictionary", "WeakKeyDictionary", "WeakSet",
}  # fmt: skip
FROZEN = {"Mapping", "Sequence", "Collection", "AbstractSet", "Iterable", "Container"}


def name_of(node: ast.AST) -> str:
    """The dotted name of an expression, `()` for calls inside it; empty for anything else."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{name_of(node.value)}.{node.attr}"
        case ast.Call():
            return f"{name_of(node.func)}()"
        case ast.Subscript():
            return name_of(node.value)
    return ""


def ambient(tree: ast.Module, path: str) -> Found:
    """Nothing is current: no context variables, no thread locals, no `global`, no get_current_*."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(alias.name.split(".")[0] == "contextvars" for alias in names):
                yield node.lineno, "contextvars"
            case ast.ImportFrom(module="contextvars"):
                yield node.lineno, "contextvars"
            case ast.ImportFrom(module="threading", names=names) if any(alias.name == "local" for alias in names):
                yield node.lineno, "threading.local"
            case ast.Attribute() if name_of(node) == "threading.local":
                yield node.lineno, "threading.local"
            case ast.Global():
                yield node.lineno, "global"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("get_current"):
                yield node.lineno, name
            case ast.Call() if name_of(node.func).split(".")[-1].startswith("get_current"):
                yield node.lineno, name_of(node.func)


#: methods by which a mapping is changed
WRITERS = ("clear", "pop", "popitem", "setdefault", "update")


def environment(tree: ast.Module, path: str) -> Found:
    """The environment is read once, in settings, and never written (ISO-02)."""
    inside = path.startswith("hermesd/settings")
    writing = {"os.putenv", "os.unsetenv"}
    reading = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for alias in node.names:
                if f"os.{alias.name}" in writing | (set() if inside else reading):
                    yield node.lineno, f"os.{alias.name}"
        if isinstance(node, ast.Attribute) and name_of(node) in writing | (set() if inside else reading):
            yield node.lineno, name_of(node)
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and name_of(node.value) in reading:
            yield node.lineno, f"{name_of(node.value)}[...] is written"
        if isinstance(node, ast.Attribute) and name_of(node.value) in reading and node.attr in WRITERS:
            yield node.lineno, name_of(node)


def process_state(tree: ast.Module, path: str) -> Found:
    """Working directory and umask belong to the whole process: nobody moves them, nobody blocks it (ISO-02)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and name_of(node) in ("os.chdir", "os.fchdir", "os.umask", "time.sleep"):
            yield node.lineno, name_of(node)
        if isinstance(node, ast.ImportFrom) and node.module in ("os", "time"):
            for alias in node.names:
                if alias.name in ("chdir", "fchdir", "umask", "sleep"):
                    yield node.lineno, f"{node.module}.{alias.name}"


def module_state(tree: ast.Module, path: str) -> Found:
    """Modules and classes hold no list, dict, set or cache; a CONSTANT table may stand if nobody writes to it."""
    changed = set(_written(tree))
    scopes: list[ast.Module | ast.ClassDef] = [
        tree,
        *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)),
    ]
    for scope in scopes:
        for node in scope.body:
            if isinstance(node, ast.Assign):
                names, value, annotation = [name_of(target) for target in node.targets], node.value, ""
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                inner = node.annotation
                shared = "ClassVar" in name_of(inner)
                if name_of(inner) in ("Final", "ClassVar", "typing.Final", "typing.ClassVar"):
                    inner = inner.slice if isinstance(inner, ast.Subscript) else inner
                names, value, annotation = [name_of(node.target)], node.value, name_of(inner).split(".")[-1]
            else:
                continue
            literal = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
            made = isinstance(value, ast.Call) and name_of(value.func).split(".")[-1] in MUTABLE
            # pydantic gives each instance a copy of a field's default; a dataclass refuses one
            field = isinstance(scope, ast.ClassDef) and scope.bases and isinstance(node, ast.AnnAssign) and not shared
            constant = literal and all(name.strip("_").isupper() and name not in changed for name in names)
            if (literal or made) and not (constant or field) and annotation not in FROZEN and names != ["__all__"]:
                yield node.lineno, f"mutable {', '.join(names)}"
        for node in scope.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    called = name_of(decorator).removesuffix("()").split(".")[-1]
                    if called in ("cache", "lru_cache", "alru_cache", "cached"):
                        yield node.lineno, f"cache on {node.name}"


def _written(tree: ast.Module) -> Iterator[str]:
    """Names whose contents some statement of the file changes."""
    verbs = (
        "append",
        "extend",
        "insert",
        "add",
        "update",
        "setdefault",
        "pop",
        "popitem",
        "remove",
        "discard",
        "clear",
    )
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in verbs:
                yield name
            case ast.AugAssign(target=ast.Name(id=name)):
                yield name


def tasks(tree: ast.Module, path: str) -> Found:
    """Every task lives in a task group."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and path not in TASKS:
            name = name_of(node.func)
            owner, _, verb = name.rpartition(".")
            loose = owner in ("", "asyncio") or owner.split(".")[-1].strip("_()") in (
                "loop",
                "get_running_loop",
                "get_event_loop",
            )
            if verb in ("create_task", "ensure_future", "run_coroutine_threadsafe") and loose:
                yield node.lineno, name


def swallowed(tree: ast.Module, path: str) -> Found:
    """A broad handler raises again, logs, or passes the error on; none says nothing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
        broad = node.type is None or any(
            kind is not None and name_of(kind) in ("Exception", "BaseException") for kind in caught
        )
        if broad and not any(_speaks(inner, node.name) for statement in node.body for inner in ast.walk(statement)):
            yield node.lineno, "a broad except that says nothing"


def _speaks(node: ast.AST, error: str | None) -> bool:
    match node:
        case ast.Raise():
            return True
        case ast.Name(id=name) if error is not None and name == error:
            return True
        case ast.Call(
            func=ast.Attribute(attr="debug" | "info" | "warning" | "error" | "exception" | "critical" | "report")
        ):
            return True
    return False


def prints(tree: ast.Module, path: str) -> Found:
    """Only the command line prints."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and name_of(node.func) == "print"
            and not path.startswith("hermesd/cli/")
            and not path.endswith("__main__.py")
        ):
            yield node.lineno, "print"


def lazy_imports(tree: ast.Module, path: str) -> Found:
    """Imports stand at the top, but for the listed files."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and path not in LAZY:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    yield inner.lineno, f"import inside {node.name}"


def size(tree: ast.Module, path: str) -> Found:
    """No file over 400 lines, no function over 60."""
    last = max((node.end_lineno or 0 for node in tree.body), default=0)
    if last > 400 and path not in LONG:
        yield last, f"{last} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and path not in LONG:
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > 60:
                yield node.lineno, f"{node.name} has {length} lines"


RULES: tuple[Rule, ...] = (
    ambient, environment, process_state, module_state, tasks, swallowed, prints, lazy_imports, size,
)  # fmt: skip

PLANTED: tuple[tuple[Rule, str], ...] = (
    (ambient, "import contextvars"),
    (ambient, "from contextvars import ContextVar"),
    (ambient, "import threading\nx = threading.local()"),
    (ambient, "from threading import local"),
    (ambient, "def f():\n    global x\n    x = 1"),
    (ambient, "def get_current_profile(): ..."),
    (ambient, "def f(self): return self.registry.get_current_profile()"),
    (environment, "import os\nhome = os.environ['HOME']"),
    (environment, "from os import environ"),
    (environment, "import os\nos.putenv('A', 'b')"),
    (environment, "import os\ndef f(): return os.getenv('A')"),
    (process_state, "import os\ndef f(): os.chdir('/')"),
    (process_state, "import os\ndef f(): os.umask(0o77)"),
    (process_state, "import time\ndef f(): time.sleep(1)"),
    (process_state, "from time import sleep"),
    (module_state, "seen = []"),
    (module_state, "seen: dict[str, int] = {}"),
    (module_state, "from collections import defaultdict\nseen = defaultdict(list)"),
    (module_state, "class A:\n    seen = set()"),
    (module_state, "class A(Base):\n    seen: ClassVar[dict[str, int]] = {}"),
    (module_state, "class A:\n    seen: dict[str, int] = {}"),
    (module_state, "SEEN = {'a': 1}\ndef f(): SEEN['b'] = 2"),
    (module_state, "_SEEN: list[int] = []\ndef f(): _SEEN.append(2)"),
    (module_state, "_SEEN = dict()"),
    (module_state, "class A:\n    seen: ClassVar[dict[str, int]] = {}"),
    (module_state, "import functools\n@functools.cache\ndef f(): ..."),
    (module_state, "from functools import lru_cache\n@lru_cache(maxsize=8)\ndef f(): ..."),
    (tasks, "import asyncio\nasync def f(): asyncio.create_task(g())"),
    (tasks, "import asyncio\nasync def f(): asyncio.get_running_loop().create_task(g())"),
    (tasks, "async def f(self): self._loop.create_task(g())"),
    (tasks, "from asyncio import ensure_future\nasync def f(): ensure_future(g())"),
    (swallowed, "try:\n    f()\nexcept Exception:\n    pass"),
    (swallowed, "try:\n    f()\nexcept:\n    x = 1"),
    (swallowed, "try:\n    f()\nexcept (ValueError, BaseException) as error:\n    x = 1"),
    (prints, "print('hello')"),
    (lazy_imports, "def f():\n    import json"),
    (size, "x = 1\n" * 401),
    (size, "def f():\n" + "    x = 1\n" * 60),
)

INNOCENT: tuple[tuple[Rule, str], ...] = (
    (environment, "import os\nos.getpid()"),
    (
        module_state,
        "names: Mapping[str, int] = {'a': 1}\n__all__ = ['names']\nkinds = ('a', 'b')\nset_ = frozenset({1})",
    ),
    (
        module_state,
        "class A:\n    model_config = ConfigDict(extra='forbid')\n    seen: set[str] = field(default_factory=set)",
    ),
    (
        tasks,
        "async def f():\n    async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(g(), name='g')",
    ),
    (swallowed, "try:\n    f()\nexcept Exception as error:\n    future.set_exception(error)"),
    (swallowed, "try:\n    f()\nexcept Exception:\n    log.error('x', action='y')"),
    (swallowed, "try:\n    f()\nexcept ValueError:\n    pass"),
    (size, "def f():\n" + "    x = 1\n" * 59),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Rule) -> None:
    """No file of the product breaks the rule (ISO-02 by `environment`, `process_state` and `ambient`)."""
    broken = [
        f"{path}:{line}: {what}"
        for path in SOURCES
        for line, what in rule(ast.parse((ROOT / path).read_text()), path.as_posix())
    ]
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


@pytest.mark.parametrize(("rule", "code"), PLANTED)
def test_the_rule_bites(rule: Rule, code: str) -> None:
    """A planted violation is found."""
    assert list(rule(ast.parse(code), "hermesd/planted.py"))


@pytest.mark.parametrize(
    ("code", "many"),
    [
        ("home = os.environ['HOME']", 0),
        ("found = dict(os.environ)", 0),
        ("os.environ['A'] = 'b'", 1),
        ("del os.environ['A']", 1),
        ("os.environ.update(a='b')", 1),
        ("os.environ.setdefault('A', 'b')", 1),
        ("os.environb[b'A'] = b'b'", 1),
        ("os.unsetenv('A')", 1),
    ],
)
def test_settings_read_the_environment_and_never_write_it(code: str, many: int) -> None:
    """The one place that may read the environment may not write it either (ISO-02)."""
    assert len(list(environment(ast.parse(f"import os\n{code}"), "hermesd/settings/planted.py"))) == many


@pytest.mark.parametrize(("rule", "code"), INNOCENT)
def test_the_rule_leaves_good_code_alone(rule: Rule, code: str) -> None:
    """What the rule is not about passes."""
    assert not list(rule(ast.parse(code), "hermesd/planted.py"))


def test_exceptions_name_files_that_exist() -> None:
    """A listed exception whose file is gone is taken off the list."""
    assert not [path for path in (*TASKS, *LAZY, *LONG) if not (ROOT / path).exists()]


def unreasoned(text: str) -> Found:
    """Each lint ignore says why, beside it or in the line above."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        found = re.search(
            r"#\s*(noqa|type:\s*ignore)\b(?::?\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*|\[[\w, -]+\])?(.*)", token.string
        )
        if token.type == tokenize.COMMENT and found:
            line = token.start[0]
            above = lines[line - 2].strip() if line > 1 else ""
            if len(found[2].strip(" #:-—")) < 4 and not above.startswith("#"):
                yield line, token.string


def test_every_ignore_says_why() -> None:
    """No check is switched off without its reason beside it."""
    broken = [f"{path}:{line}: {what}" for path in SOURCES for line, what in unreasoned((ROOT / path).read_text())]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("x = 1  # noqa: S101\n", 1),
        ("x = f()  # type: ignore[attr-defined]\n", 1),
        ("x = 1  # noqa: S101 the protocol wants it so\n", 0),
        ("x = f()  # type: ignore[attr-defined]  # the stub forgets it\n", 0),
        ("# the protocol wants it so\nx = 1  # noqa: S101\n", 0),
    ],
)
def test_the_ignore_rule_bites(code: str, count: int) -> None:
    """A bare ignore is found, a reasoned one passes."""
    assert len(list(unreasoned(code))) == count
