"""The offer a stranger gets in a direct message."""

import secrets

from hermesd.database import Tx
from hermesd.ledger import pairing
from hermesd.ledger.pairing import Pairing
from hermesd.message import InboundMessage

#: seconds a code can be approved
VALID_SECONDS = 3600.0
#: strangers of one bot that may wait at once
MOST_WAITING = 20
#: no letters that look like others
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_LENGTH = 8


def wish(message: InboundMessage, *, at: float) -> Pairing:
    """What a stranger asks for, with a fresh code; `at` is Unix seconds."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return Pairing(
        code,
        message.address.adapter,
        message.sender.id,
        message.sender.name,
        message.address.chat_id,
        at,
        at + VALID_SECONDS,
    )


def offer(asked: Pairing) -> str:
    """The text for the stranger."""
    return (
        f"I do not know you yet. Your id is `{asked.user_id}` and your pairing code is **{asked.code}**.\n"
        f"Give the code to whoever runs me; they type `hermesd pairing approve {asked.code}` within an hour."
    )


def store(tx: Tx, asked: Pairing) -> bool:
    """Keep the wish; False where this person has a code already, or too many others wait."""
    return pairing.ask(tx, asked, most=MOST_WAITING) is asked
