"""What must never be in the repository, and what its outer files must say."""

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from hermesd.settings.model import FileSettings

ROOT = Path(__file__).parents[2]

INDEX = re.compile(r"https?://|pypi|pythonhosted|--index-url|--extra-index-url|--find-links|@ *file:", re.IGNORECASE)
#: written in pieces, so that this file does not find itself
ELSEWHERE = re.compile("/" + r"(home/[a-z][a-z0-9_-]*/|root/|Users/[A-Za-z]|tmp/brief|work/(main|shared)|farm/)")


def tracked() -> list[Path]:
    """Every file git knows; all files where there is no git (an unpacked source distribution)."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "pyproject.toml", "Makefile", ".ci/run"]
)
def test_no_package_index_is_named(name: str) -> None:
    """Installing asks the index the machine is set up with, never one we wrote down."""
    assert not [line for line in (ROOT / name).read_text().splitlines() if INDEX.search(line)]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_has_a_version_and_a_hash(name: str) -> None:
    """The lock pins each package to one version and its bytes."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", (ROOT / name).read_text().strip())
    assert len(entries) > 20
    assert not [entry[:60] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]


def test_the_runtime_lock_is_part_of_the_development_lock() -> None:
    """Tests run against the very versions that run in service."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9-]+==[^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_no_tracked_file_holds_a_path_of_somebodys_machine() -> None:
    """Nothing in the repository depends on where its author sat."""
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in ELSEWHERE.finditer(text)]
    assert not found


def test_the_path_rule_bites() -> None:
    """A developer's home would be found."""
    assert ELSEWHERE.search("see /" + "home/ann/src")
    assert not ELSEWHERE.search("/usr/share/doc and https://example.org/home")


def test_every_adapter_is_packaged_and_found() -> None:
    """Each folder of adapters/ is in the wheel, has its entry point and is type-checked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {path.name for path in (ROOT / "adapters").iterdir() if (path / "__init__.py").exists()}
    packaged = {Path(name).name for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    points = {value.partition(":")[0] for value in project["project"]["entry-points"]["hermesd.adapters"].values()}
    assert folders == packaged - {"hermesd"} == points == set(project["tool"]["mypy"]["packages"]) - {"hermesd"}


def test_every_test_says_what_it_promises() -> None:
    """Each test function has a docstring of one promise."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_make_help_lists_every_documented_target() -> None:
    """`make help` shows each target that people are meant to call."""
    text = (ROOT / "Makefile").read_text()
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert documented >= {"help", "run", "test", "check", "bench", "soak", "lock", "schema", "clean"}
    if shutil.which("make"):
        shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert all(f"make {target} " in shown for target in documented)


def test_ci_runs_the_readmes_test_command() -> None:
    """CI and a reader of the README run the same thing."""
    assert "make test" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("exec make test")
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_service_is_clean(tmp_path: Path) -> None:
    """systemd accepts the unit without a remark, and rates its exposure as low."""
    unit = tmp_path / "hermesd.service"
    # the daemon is not installed below /opt here; any program stands in for it
    text = (ROOT / "systemd/hermesd.service").read_text()
    unit.write_text(text.replace("/opt/hermesd/venv/bin/hermesd", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-500:]


def test_the_service_promises_what_the_daemon_keeps() -> None:
    """Readiness, watchdog, reload, state, files and a drain budget are all in the unit."""
    lines = (ROOT / "systemd/hermesd.service").read_text().splitlines()
    wanted = {"Type=notify", "WatchdogSec=30", "ExecReload=/bin/kill -HUP $MAINPID", "StateDirectory=hermesd"}
    wanted |= {"LimitNOFILE=65536", "TimeoutStopSec=30", "NoNewPrivileges=yes", "RestartPreventExitStatus=78"}
    assert wanted <= set(lines)
    assert any(line.startswith("#LoadCredential=") for line in lines)


def test_the_default_drain_fits_the_service() -> None:
    """An untouched configuration ends within 85 % of the unit's TimeoutStopSec; a longer drain is announced to it."""
    unit = (ROOT / "systemd/hermesd.service").read_text()
    stop = float(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert 0 < FileSettings().drain_seconds <= 0.85 * stop


def test_the_image_is_small_unprivileged_and_watched() -> None:
    """Two stages, hashed dependencies, a numeric user, a health check, signals to the daemon, no secret inside."""
    text = (ROOT / "Dockerfile").read_text()
    steps = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#"))).splitlines()
    steps = [step for step in steps if step.strip()]
    known = {"FROM", "ENV", "WORKDIR", "RUN", "COPY", "LABEL", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
             "ENTRYPOINT", "CMD"}  # fmt: skip
    assert {step.split()[0] for step in steps} <= known
    assert sum(step.startswith("FROM ") for step in steps) == 2
    assert any("--require-hashes" in step for step in steps)
    last_user = [step for step in steps if step.startswith("USER ")][-1]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", last_user)
    assert any(step.startswith("HEALTHCHECK ") for step in steps)
    assert 'ENTRYPOINT ["hermesd"]' in steps
    sources = {word.rstrip("/") for step in steps if step.startswith("COPY ") and "--from" not in step
               for word in step.split()[1:-1] if not word.startswith("--")}  # fmt: skip
    allowed = {line.lstrip("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources <= allowed
    assert all((ROOT / source).exists() for source in sources)
