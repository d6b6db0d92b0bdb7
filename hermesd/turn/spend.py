"""The configured spending limits in the form the turn works with."""

from hermesd.settings import LimitSettings
from hermesd.turn.limits import Allowance

_SCOPES = ("user", "chat", "profile", "day")


def allowances(limits: LimitSettings) -> dict[str, Allowance]:
    """Only the scopes that have a limit at all."""
    found = {}
    for scope in _SCOPES:
        block = getattr(limits.spend, scope)
        if block is not None and (block.turns, block.tokens, block.money) != (None, None, None):
            found[scope] = Allowance(block.turns, block.tokens, block.money)
    return found
