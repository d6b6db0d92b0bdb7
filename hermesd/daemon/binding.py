"""`/bind`: write a route into hermesd.yaml, keep its comments, and take it up."""

import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio import to_thread

from hermesd.address import Address
from hermesd.errors import ConfigError, UserError
from hermesd.reload import Report
from hermesd.settings import Loaded
from hermesd.settings.edit import bind


@dataclass(slots=True)
class Binding:
    """Edits one configuration file, one edit at a time."""

    path: Path
    #: validate a text as if it stood in the file
    check: Callable[[Path], Loaded]
    bots_of: Callable[[str], tuple[str, ...]]
    known_profiles: Callable[[], frozenset[str]]
    reload: Callable[[], Awaitable[Report]]
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def write(self, address: Address, profile: str) -> str:
        """Route this place to a profile. Raises UserError, with the file as it was, when the result would not load."""
        if profile not in self.known_profiles():
            names = ", ".join(f"`{name}`" for name in sorted(self.known_profiles()))
            raise UserError(f"There is no profile `{profile}`.", hint=f"Known: {names}")
        async with self._lock:
            await to_thread.run_sync(self._rewrite, address, profile)
            report = await self.reload()
        if report.result == "rejected":
            raise UserError("The file was written, but it is refused now: " + "; ".join(report.rejected))
        return f"{address}: {profile}"

    def _rewrite(self, address: Address, profile: str) -> None:
        try:
            before = self.path.read_text(encoding="utf-8")
            after = bind(before, address, profile, self.bots_of(address.adapter.platform))
            mode = self.path.stat().st_mode & 0o777
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        except (OSError, ConfigError) as error:
            raise UserError(f"I cannot edit {self.path}: {error}", hint="Add the line of /whereami by hand.") from error
        draft = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(after)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(mode)
            problems = [problem for problem in self.check(draft).problems if problem.level == "error"]
            if problems:
                raise UserError(f"That route would not load: {problems[0].message}", hint=problems[0].hint)
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
