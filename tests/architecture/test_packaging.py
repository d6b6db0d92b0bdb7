"""What is declared is what is used, and what is built is what runs."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import metadata, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """Distributions named by these requirements, their extras included: `a[b]` declares b where a has such an extra."""
    found = set()
    for requirement in requirements:
        name, extras = re.fullmatch(r"([\w.-]+)(?:\[([\w,.-]+)\])?[^\w\[]*.*", requirement).groups()
        known = {canonical(extra) for extra in metadata(name).get_all("Provides-Extra") or ()}
        found |= {canonical(name), *(canonical(extra) for extra in (extras or "").split(",") if extra in known)}
    return found


def imported(*folders: str, but: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """(distribution, file) of every third-party import."""
    owners = packages_distributions()
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if any(path.is_relative_to(ROOT / name) for name in but):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for top in {module.partition(".")[0] for module in modules}:
                    if top not in sys.stdlib_module_names and not top.startswith("hermesd"):
                        # pydantic and its core are one thing in two packages, tied to each other's exact version
                        owner = "pydantic" if top == "pydantic_core" else owners.get(top, ["nobody"])[0]
                        yield canonical(owner), str(path.relative_to(ROOT))


def test_the_declared_dependencies_are_the_imported_ones() -> None:
    """Nothing is used that only another package brings along, and nothing is installed that nobody uses."""
    used: dict[str, str] = dict(imported("hermesd", "adapters", but=("hermesd/testing",)))
    known = declared(PROJECT["dependencies"])
    assert {name: file for name, file in used.items() if name not in known} == {}
    assert known - used.keys() == set()


def test_the_fakes_need_their_extra_and_no_more() -> None:
    """`pip install hermesd[testing]` is all that `hermesd.testing` takes."""
    known = declared(PROJECT["dependencies"]) | declared(PROJECT["optional-dependencies"]["testing"])
    assert {(name, file) for name, file in imported("hermesd/testing") if name not in known} == set()


def test_an_undeclared_import_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import of something that is only installed by chance is told with its owner."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/x.py").write_text("import os\nfrom jsonschema import validate\nimport nowhere.at.all\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert set(imported("code")) == {("jsonschema", "code/x.py"), ("nobody", "code/x.py")}


def test_the_wheel_holds_all_that_runs_and_nothing_else(tmp_path: Path) -> None:
    """Built offline: every module and asset of the core and of the adapters, the command, the entry points."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (points,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    command = ["git", "ls-files", "hermesd", "adapters"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        tracked = {name.removeprefix("adapters/") for name in listed.stdout.split() if (ROOT / name).exists()}
        assert tracked <= names
    assert {name.partition("/")[0] for name in names} == {"hermesd", "hermesd_telegram", "hermesd_web"}
    assert "hermesd = hermesd.__main__:main" in points
    assert "web = hermesd_web:plugin" in points
    assert any(name.endswith(".html") for name in names)
