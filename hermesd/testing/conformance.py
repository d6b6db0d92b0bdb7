"""What an adapter must show to be let in: a rig per platform, one suite for all.

A rig is a stand-in for one platform with people in it. `tests/conformance/test_adapters.py` collects every
`tests/conformance/rig_*.py`; each offers `def rig() -> Rig`. The suite then plays the same scenes on every platform:

    rig = ...                                   a fresh one for each scene
    await rig.start()
    host = MemoryHost(rig.key, secrets=rig.secrets())
    async with connected(rig, host) as adapter: run() is going, UP was reported
        said = await rig.says(rig.places["group"], "hello")
        await host.wait_for(1)                  the raw event is stored
        await said.wait_acknowledged()          the platform may forget it now
    await rig.stop()

Places are `dm`, `group`, and, where `capabilities.threads`, `thread` and `other_thread` (two threads of one chat).
`host.remember(message)` is called before each `adapter.send(message)`, as the gateway commits a delivery first: an
adapter that shows history through `host.transcript` finds it there.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio

from hermesd.address import AdapterKey, Address
from hermesd.message import Outgoing, RawEvent, Receipt
from hermesd.ports import Adapter, AdapterPlugin, BotSettings, BotState, SecretRef
from hermesd.testing.host import MemoryHost

Person = Literal["alice", "bob", "another_bot", "the_bot_itself"]

#: what can go wrong with one send; the name is the error the adapter must raise, or the `reason` of a Rejected
SendFault = Literal[
    "unauthorized",
    "rate_limited",
    "unreachable",
    "ambiguous",
    "migrated",
    "blocked",
    "forbidden",
    "chat_gone",
    "thread_gone",
    "thread_closed",
    "too_long",
    "bad_request",
]
#: what can go wrong with receiving; the name is the error `run` must raise
ReceiveFault = Literal["unauthorized", "conflict", "rate_limited", "unreachable"]


class Said(Protocol):
    """One thing a person did on the platform."""

    #: what `InboundMessage.message_key` must be; None where the platform mints it while storing
    message_key: str | None

    def acknowledged(self) -> bool:
        """Whether the platform considers it delivered and would not deliver it again."""
        ...

    async def wait_acknowledged(self) -> None:
        """Return once `acknowledged()` is true."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """One message of the bot as people on the platform see it."""

    message_key: str
    #: visible text without markup
    text: str


class Rig(Protocol):
    """One platform, played."""

    #: the plugin under test
    plugin: AdapterPlugin
    #: the bot under test
    key: AdapterKey
    #: addresses of the bot under test by name; `dm`, `group` and, with threads, `thread`, `other_thread`
    places: Mapping[str, Address]
    #: faults this platform can be made to show; the suite tries exactly these
    send_faults: frozenset[SendFault]
    receive_faults: frozenset[ReceiveFault]
    #: whether `another_bot` and `the_bot_itself` can write in the group here
    has_bots: bool
    #: whether the platform can deliver an event a second time on its own (`repeat`)
    can_repeat: bool

    async def start(self) -> None:
        """Bring the platform up, empty, with the people and places in it."""
        ...

    async def stop(self) -> None:
        """Take it down; called once, after the adapter is closed."""
        ...

    def settings(self) -> BotSettings:
        """Valid settings of the bot under test; an instance of `plugin.settings_model`."""
        ...

    def secrets(self) -> Mapping[SecretRef, str]:
        """What stands behind the references in `settings()`."""
        ...

    async def says(self, place: Address, text: str, *, person: Person = "alice", to_bot: bool = False) -> Said:
        """Let a person write there; returns at once. `to_bot` addresses the bot as people do there (a mention)."""
        ...

    async def repeat(self) -> None:
        """Deliver the last event once more, under the same event id."""
        ...

    async def shown(self, place: Address) -> Sequence[Shown]:
        """What the bot has shown there so far, oldest first: the platform's own truth."""
        ...

    async def menu(self) -> Sequence[tuple[str, str]] | None:
        """The command menu people see; None where the platform has none."""
        ...

    async def break_send(self, fault: SendFault, place: Address) -> None:
        """Make the next send to that place fail in this way."""
        ...

    async def break_receive(self, fault: ReceiveFault) -> None:
        """Make receiving fail in this way until `heal`."""
        ...

    async def heal(self) -> None:
        """Undo every fault."""
        ...

    def samples(self) -> Sequence[RawEvent]:
        """Events as the platform sends them, one of each kind the adapter knows; the suite mutates them."""
        ...


@asynccontextmanager
async def connected(rig: Rig, host: MemoryHost, *, prompt: float = 5.0) -> AsyncIterator[Adapter]:
    """Run the rig's bot until the block ends. Entered once UP is reported; leaving cancels, awaits and closes it.

    `prompt` bounds, in seconds, both the connecting and the cancelling; TimeoutError says which was too slow.
    """
    adapter = rig.plugin.build(rig.settings(), host)
    host.attach(adapter.parse)
    ended = anyio.Event()

    async def run() -> None:
        try:
            await adapter.run()
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, name=f"adapter {host.key}")
            with anyio.fail_after(prompt):
                await host.wait_state(BotState.UP)
            yield adapter
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(prompt):
                await ended.wait()
    finally:
        with anyio.CancelScope(shield=True), anyio.fail_after(prompt):
            await adapter.close()


async def deliver(adapter: Adapter, host: MemoryHost, message: Outgoing) -> Receipt:
    """Send as the gateway does: commit first, then send."""
    host.remember(message)
    return await adapter.send(message)
