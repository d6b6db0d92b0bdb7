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


@pytest.fixture(params=list(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """One platform, up and empty."""
    made = RIGS[request.param]()
    await made.start()
    yield made
    await made.stop()
