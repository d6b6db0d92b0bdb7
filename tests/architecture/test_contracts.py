"""Who may import whom: the contracts hold, and each of them bites."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the sources below `root`, not on the installed ones."""
    script = Path(sys.executable).parent / "lint-imports"
    command = [str(script), "--no-logo", "--no-cache", "--config", str(root / "pyproject.toml")]
    paths = f"{root}:{root / 'adapters'}"
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False, timeout=100, env={"PYTHONPATH": paths}
    )


def test_the_contracts_hold() -> None:
    """Nobody imports upwards, sideways among strangers, or past the adapters' doors."""
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout[-3000:]


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("hermesd/message.py", "import hermesd.gateway", "hermesd.message is not allowed to import hermesd.gateway"),
        ("hermesd/control.py", "import hermesd.markup", "hermesd.control is not allowed to import hermesd.markup"),
        ("hermesd/tool/__init__.py", "import hermesd.agent", "hermesd.tool is not allowed to import hermesd.agent"),
        ("hermesd/attic.py", "", "attic"),
        ("adapters/hermesd_web/__init__.py", "import hermesd.ledger", "is not allowed to import hermesd.ledger"),
        ("adapters/hermesd_telegram/__init__.py", "import hermesd.plain", "is not allowed to import hermesd.plain"),
        ("adapters/hermesd_web/__init__.py", "import hermesd_telegram", "is not allowed to import hermesd_telegram"),
        ("hermesd/delivery/__init__.py", "import telegram", "is not allowed to import telegram"),
        ("hermesd/delivery/__init__.py", "import hermesd_web", "is not allowed to import hermesd_web"),
    ],
)
def test_a_planted_import_is_refused(tmp_path: Path, file: str, line: str, said: str) -> None:
    """An import upwards, sideways, of an unplanned module, of an SDK or of an adapter breaks its contract."""
    for name in ("hermesd", "adapters", "pyproject.toml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    planted = tmp_path / file
    planted.write_text((planted.read_text() if planted.exists() else "") + f"\n{line}\n")
    ended = lint(tmp_path)
    assert ended.returncode == 1
    assert said in " ".join(ended.stdout.split())


def test_the_documented_floors_are_the_enforced_ones() -> None:
    """docs/architecture.md draws the floors that import-linter checks, in the same order."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    enforced = [floor.strip() for floor in next(c for c in contracts if c["id"] == "floors")["layers"]]
    page = (ROOT / "docs/architecture.md").read_text()
    drawn = re.findall(r"^\| *\d+ *\| *`([^`]+)` *\|", page, flags=re.MULTILINE)
    assert drawn == [re.sub(r"[()]", "", floor).replace(" | ", ", ") for floor in enforced]
