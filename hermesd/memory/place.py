"""Where a context's memory lies: a folder name that no other context can have."""

import hashlib
import string

_PLAIN = frozenset((string.ascii_lowercase + string.digits + "_-").encode())
_LONGEST = 120


def folder(context_id: str) -> str:
    """An injective, case-proof folder name for any text, NUL and lone surrogates included.

    Short ids stay readable (`p<bytes>-` and percent-encoding), long ones become `h<bytes>-` and their SHA-256.
    """
    raw = context_id.encode("utf-8", "surrogatepass")
    encoded = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in raw[: _LONGEST + 1])
    if len(raw) <= _LONGEST and len(encoded) <= _LONGEST:
        return f"p{len(raw)}-{encoded}"
    return f"h{len(raw)}-{hashlib.sha256(raw).hexdigest()}"
