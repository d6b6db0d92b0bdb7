"""Boot epochs: whose leftovers are whose is decided by number, never by age."""

from dataclasses import dataclass

from hermesd import audit
from hermesd.database import Tx

_START = "INSERT INTO boot(started_at, pid, version, audit_id, audit_hash) VALUES (?, ?, ?, ?, ?)"
_ANCHOR = "SELECT audit_id, audit_hash FROM boot WHERE audit_id IS NOT NULL ORDER BY epoch DESC LIMIT 1"
_END = "UPDATE boot SET ended_at = ? WHERE epoch = ?"
_UNCLEAN = "SELECT count(*) FROM boot WHERE ended_at IS NULL AND started_at BETWEEN ? AND ? AND epoch < ?"
_LAST_CONFIG = "SELECT epoch, digest FROM config ORDER BY epoch DESC LIMIT 1"
_NEW_CONFIG = "INSERT INTO config(digest, applied_at) VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class Boot:
    """This run of the daemon."""

    #: strictly increasing over the life of the state directory
    epoch: int
    #: Unix seconds
    started_at: float


def start(tx: Tx, *, at: float, pid: int, version: str) -> Boot:
    """Open a new epoch."""
    head = audit.head(tx)
    known = (head.id, head.hash) if head is not None else (None, None)
    row = tx.execute(_START, (at, pid, version, *known))
    return Boot(int(row.lastrowid or 0), at)


def anchor(tx: Tx) -> audit.Anchor | None:
    """How far the audit log reached when the newest boot began: `verify` then notices a cut before it."""
    row = tx.execute(_ANCHOR).fetchone()
    return None if row is None else audit.Anchor(int(row[0]), bytes(row[1]))


def end(tx: Tx, boot: Boot, *, at: float) -> None:
    """Record that this epoch ended in an orderly way."""
    tx.execute(_END, (at, boot.epoch))


def unclean_since(tx: Tx, boot: Boot, since: float) -> int:
    """How many earlier epochs that began after `since` (Unix seconds) ended without an orderly end."""
    return int(tx.execute(_UNCLEAN, (since, boot.started_at, boot.epoch)).fetchone()[0])


def config_epoch(tx: Tx, digest: str, *, at: float) -> int:
    """The config epoch of this digest: the last one when nothing changed, else a new one."""
    last = tx.execute(_LAST_CONFIG).fetchone()
    if last is not None and last[1] == digest:
        return int(last[0])
    return int(tx.execute(_NEW_CONFIG, (digest, at)).lastrowid or 0)
