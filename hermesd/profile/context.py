"""One profile's state, reachable only through this value."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from hermesd.errors import OperatorError, ProfileUnavailable
from hermesd.memory import MemoryStore
from hermesd.ports import Engine, Log
from hermesd.profile.home import Home
from hermesd.profile.secrets import Secrets
from hermesd.profile.settings import ProfileSettings
from hermesd.profile.shelf import Shelf
from hermesd.session import SessionStore

T = TypeVar("T")

#: (profile's name, what the model reader made of its `model:` block, its secrets) → its engine, not connected yet
EngineBuilder = Callable[[str, Any, Mapping[str, str]], Engine]


class Lazy(Generic[T]):
    """A value made when it is first asked for, and kept."""

    __slots__ = ("_made", "_maker")

    def __init__(self, maker: Callable[[], T]) -> None:
        self._maker: Callable[[], T] | None = maker
        self._made: T | None = None

    def get(self) -> T:
        if self._made is None and self._maker is not None:
            self._made = self._maker()
            self._maker = None
        assert self._made is not None  # noqa: S101 - for the type checker: made above or before
        return self._made


@dataclass(frozen=True, slots=True)
class ProfileContext:
    """Everything of one profile, as one applied configuration describes it; a turn holds one from start to end."""

    name: str
    #: number of the load that made this value; (name, generation) is the key of whatever is cached per profile
    generation: int
    home: Home
    settings: ProfileSettings
    secrets: Secrets
    #: SOUL.md, capped
    soul: str
    memory: MemoryStore
    #: where tools work
    workspace: Path
    _shelf: Shelf = field(repr=False)
    _engine: Lazy[Engine] = field(repr=False)
    _log: Lazy[Log] = field(repr=False)

    def sessions(self) -> AbstractAsyncContextManager[SessionStore]:
        """`async with ctx.sessions() as store`: the database is open inside the block. Raises ProfileUnavailable."""
        return self._shelf.lease(self.home)

    @property
    def agent(self) -> Engine:
        """The profile's engine, built on first use. Raises ProfileUnavailable when a key is missing."""
        try:
            return self._engine.get()
        except OperatorError as error:
            self.log.error("the profile's model cannot be used", action="profile.engine", detail=str(error))
            raise ProfileUnavailable(
                f"profile {self.name} is not available: its model is not set up",
                hint="your message is kept; whoever runs this bot finds the next step in the log",
            ) from error

    @property
    def log(self) -> Log:
        """The profile's own log."""
        return self._log.get()
