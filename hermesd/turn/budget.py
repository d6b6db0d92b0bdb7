"""How long and how far one turn may go."""

from hermesd.agent.settings import ModelSettings
from hermesd.ports import EngineRequest, Row

#: seconds for a whole turn, and without a byte from the provider
TIMEOUT, IDLE_TIMEOUT = 600.0, 120.0
#: model requests in one turn, tool rounds included
MAX_STEPS = 40


def request(model: ModelSettings | None, system: str, history: tuple[Row, ...], prompt: str) -> EngineRequest:
    """A turn's request within what the profile's `model:` block allows, or the defaults."""
    return EngineRequest(
        system,
        history,
        prompt,
        (model and model.max_steps) or MAX_STEPS,
        (model and model.timeout) or TIMEOUT,
        (model and model.idle_timeout) or IDLE_TIMEOUT,
    )
