"""Collects the rigs: every `rig_*.py` beside this file offers `def rig() -> Rig`."""

import importlib.util
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hermesd.testing.conformance import Rig

_HERE = Path(__file__).parent


def _factory(path: Path) -> Callable[[], Rig]:
    def make() -> Rig:
        spec = importlib.util.spec_from_file_location(f"conformance_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made: Rig = module.rig()
        return made

    return make


RIGS = {path.stem.removeprefix("rig_"): _factory(path) for path in sorted(_HERE.glob("rig_*.py"))}


#: what a test may need of a platform -> whether a rig's platform has it
HAS: dict[str, Callable[[Rig], bool]] = {
    "repeat": lambda rig: rig.can_repeat,
    "bots": lambda rig: rig.has_bots,
    "unreachable": lambda rig: "unreachable" in rig.send_faults,
    "tokens": lambda rig: "unauthorized" in rig.receive_faults,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what makes no sense on a platform: a test that needs something runs where that exists."""
    out = [item for item in items if any(not HAS[need](RIGS[_rig(item)]()) for need in _needs(item))]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def _needs(item: pytest.Item) -> list[str]:
    return [str(mark.args[0]) for mark in item.iter_markers("needs")]


def _rig(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return str(item.callspec.params["rig"])


@pytest.fixture(params=list(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """One platform, up and empty."""
    made = RIGS[request.param]()
    await made.start()
    yield made
    await made.stop()
