"""What the control socket answers: the daemon as JSON data, and the operator's acts upon it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio import to_thread

from hermesd import __version__, audit
from hermesd.adapter.registry import Bot
from hermesd.address import AdapterKey, Address
from hermesd.database import Tx
from hermesd.errors import ProfileUnavailable, UserError
from hermesd.gateway.desk import Desk
from hermesd.ledger import boot, delivery, inbound, pairing
from hermesd.ledger import turn as turns
from hermesd.ledger.pairing import Pairing
from hermesd.ledger.pause import Pause
from hermesd.ports import Finding, OffersLinks
from hermesd.route import Route
from hermesd.turn.limits import day_of

Args = Mapping[str, Any]
Handler = Callable[[Args], Awaitable[Any]]

_OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Birth:
    """Facts about this process that never change."""

    pid: int
    #: monotonic seconds
    started: float
    config: str
    state: Path


@dataclass(frozen=True, slots=True)
class Calls:
    """The handlers, by the names the command line uses."""

    desk: Desk
    birth: Birth

    def table(self) -> Mapping[str, Handler]:
        """Every call there is."""
        return {
            "status": self.status, "reload": self.reload, "pause": self.pause, "resume": self.resume,
            "bots": self.bots, "profiles": self.profiles, "profile": self.profile, "sessions": self.sessions,
            "routes": self.routes, "explain": self.explain, "audit_tail": self.audit_tail,
            "audit_verify": self.audit_verify, "links": self.links, "doctor": self.doctor,
            "pairing_list": self.pairing_list, "pairing_approve": self.pairing_approve,
            "pairing_deny": self.pairing_deny, "pairing_revoke": self.pairing_revoke,
        }  # fmt: skip

    async def status(self, args: Args) -> Any:
        desk, live = self.desk, self.desk.live
        at = desk.clock.now()
        counted, waiting, unreadable = await desk.ledger.read(
            lambda tx: (turns.counts(tx, since=_midnight(at)), delivery.counts(tx), inbound.quarantined(tx))
        )
        return {
            "version": __version__,
            "pid": self.birth.pid,
            "uptime": desk.clock.monotonic() - self.birth.started,
            "epoch": live.snapshot.epoch,
            "config": {
                "path": self.birth.config, "digest": live.snapshot.settings.digest,
                "loaded_at": live.snapshot.applied_at,
            },
            "state": str(self.birth.state),
            "safe_mode": live.safe_mode,
            "bots": [_bot(bot) for bot in desk.bots.values()],
            "profiles": {"total": len(desk.profiles), "broken": _broken(desk)},
            "turns": {
                "running": counted.get("running", 0), "queued": counted.get("queued", 0),
                "done_today": counted.get("done", 0), "failed_today": counted.get("failed", 0),
            },
            "deliveries": waiting,
            "quarantined": unreadable,
            "database": {"state": desk.ledger.health.state, "detail": desk.ledger.health.detail},
            "paused": [asdict(pause) for pause in live.pauses.values()],
            "last_reload": desk.last_reload(),
            "links": _links(desk),
        }  # fmt: skip

    async def reload(self, args: Args) -> Any:
        return await self.desk.reload()

    async def pause(self, args: Args) -> Any:
        scope = self._scope(_text(args, "scope"))
        new = await self.desk.pause(Pause(scope, _OPERATOR, str(args.get("note", "")), self.desk.clock.now()))
        await self._record("pause.set", scope)
        return {"scope": scope, "changed": new}

    async def resume(self, args: Args) -> Any:
        scope = self._scope(_text(args, "scope"))
        lifted = await self.desk.resume(scope)
        await self._record("pause.lifted", scope)
        return {"scope": scope, "changed": lifted}

    async def bots(self, args: Args) -> Any:
        return [_bot(bot) for bot in self.desk.bots.values()]

    async def profiles(self, args: Args) -> Any:
        broken = self.desk.profiles.unavailable()
        able = [self._profile(name) for name in self.desk.profiles if name not in broken]
        unable = [{"name": name, "state": "broken", "reason": why, "model": ""} for name, why in broken.items()]
        return sorted(able + unable, key=lambda profile: profile["name"])

    def _profile(self, name: str) -> dict[str, str]:
        ctx = self.desk.profiles[name]
        row = {"name": name, "home": str(ctx.home.path)}
        try:
            return row | {"state": "ok", "reason": "", "model": ctx.agent.label}
        except ProfileUnavailable as error:
            return row | {"state": "broken", "reason": error.message, "model": ""}

    def _model(self, name: str) -> str:
        try:
            return self.desk.profiles[name].agent.label
        except ProfileUnavailable as error:
            return error.message

    async def profile(self, args: Args) -> Any:
        ctx = self.desk.profiles[_text(args, "name")]
        return {
            "name": ctx.name,
            "generation": ctx.generation,
            "home": str(ctx.home.path),
            "workspace": str(ctx.workspace),
            "model": self._model(ctx.name),
            "toolsets": ctx.settings.toolsets,
            "secrets": sorted(ctx.secrets),
        }

    async def sessions(self, args: Args) -> Any:
        ctx = self.desk.profiles[_text(args, "profile")]
        async with ctx.sessions() as store:
            found = await store.recent(int(args.get("limit", 20)))
        return [asdict(session) | {"key": key} for key, session in found]

    async def routes(self, args: Args) -> Any:
        return [_route(route) for route in self.desk.live.snapshot.routes]

    async def explain(self, args: Args) -> Any:
        address = self._address(_text(args, "address"))
        user = args.get("user")
        live, known = self.desk.live, None if user is None else str(user)
        found = live.snapshot.routes.resolve(address, user=known, aliases=live.aliases)
        considered = live.snapshot.routes.explain(address, user=known, aliases=live.aliases)
        return {"profile": found.profile, "role": found.role, "why": found.why, "considered": considered}

    async def audit_tail(self, args: Args) -> Any:
        limit, kind = min(max(int(args.get("limit", 50)), 1), 1000), args.get("kind")
        events = await self.desk.ledger.read(lambda tx: audit.tail(tx, limit, kind=kind))
        return [_event(event) for event in events]

    async def audit_verify(self, args: Args) -> Any:
        # on a connection of its own: a long log must not keep messages waiting
        ledger, anchor = self.birth.state / "ledger.db", await self.desk.ledger.read(boot.anchor)
        return asdict(await to_thread.run_sync(audit.verify_file, ledger, anchor))

    async def pairing_list(self, args: Args) -> Any:
        at = self.desk.clock.now()
        return [_pairing(one) for one in await self.desk.ledger.write(lambda tx: pairing.waiting(tx, at=at))]

    async def pairing_approve(self, args: Args) -> Any:
        return await self._decide(_text(args, "code"), approve=True)

    async def pairing_deny(self, args: Args) -> Any:
        return await self._decide(_text(args, "code"), approve=False)

    async def pairing_revoke(self, args: Args) -> Any:
        """Take back what a pairing gave: {bot, user}."""
        desk, at, user = self.desk, self.desk.clock.now(), _text(args, "user")
        platform, _, bot_id = _text(args, "bot").partition("/")
        key = AdapterKey(platform, bot_id)
        self._known_bot(key)

        def work(tx: Tx) -> tuple[bool, frozenset[tuple[AdapterKey, str]]]:
            gone = pairing.revoke(tx, key, user)
            if gone:
                audit.append(tx, at=at, kind="pairing.revoked", actor=_OPERATOR, subject=f"{key}:{user}")
            return gone, pairing.permits(tx)

        gone, desk.live.permits = await desk.ledger.write(work)
        if not gone:
            hint = "people on `access.allow` are taken off in the configuration"
            raise UserError(f"{user} has no permit for {key} from a pairing", hint=hint)
        return {"key": str(key), "user_id": user}

    async def links(self, args: Args) -> Any:
        return _links(self.desk)

    def open_links(self) -> tuple[str, ...]:
        """Addresses a person can open, secrets included: for their own screen only."""
        return tuple(_links(self.desk))

    async def doctor(self, args: Args) -> Any:
        found = []
        routes = self.desk.live.snapshot.routes
        for bot in self.desk.bots.values():
            try:
                findings = await bot.adapter.probe(routes.chats(bot.key)) if bot.adapter is not None else ()
            except Exception as error:  # noqa: BLE001  # one bot's trouble must not hide what the others have to say
                findings = (Finding("error", f"cannot be looked at: {type(error).__name__}: {error}", bot.fix),)
            found.append({"bot": str(bot.key), "findings": [asdict(finding) for finding in findings]})
        return found

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _decide(self, code: str, *, approve: bool) -> Any:
        desk, at = self.desk, self.desk.clock.now()
        wanted = code.strip().upper()

        def work(tx: Tx) -> tuple[Pairing | None, frozenset[tuple[AdapterKey, str]]]:
            decided = pairing.decide(tx, wanted, approve=approve, by=_OPERATOR, at=at)
            if decided is not None:
                kind = "pairing.approved" if approve else "pairing.denied"
                audit.append(tx, at=at, kind=kind, actor=_OPERATOR, subject=f"{decided.key}:{decided.user_id}")
            return decided, pairing.permits(tx)

        decided, permits = await desk.ledger.write(work)
        if decided is None:
            raise UserError(f"there is no open pairing code {wanted!r}", hint="`hermesd pairing list` shows them")
        desk.live.permits = permits
        if approve:
            await desk.outbox.post(Address(decided.key, decided.chat_id), "You are in. Write to me; /help shows how.")
        return _pairing(decided)

    def _scope(self, text: str) -> str:
        """A scope of the command line in its one stored form. Raises UserError."""
        kind, _, what = text.partition(":")
        match kind:
            case "all":
                return "all"
            case "bot":
                platform, _, bot_id = what.partition("/")
                key = AdapterKey(platform, bot_id)
                self._known_bot(key)
                return f"bot:{key}"
            case "profile":
                if what not in {*self.desk.profiles, *self.desk.profiles.unavailable()}:
                    raise UserError(f"there is no profile {what!r}", hint="`hermesd profiles list` shows them")
                return f"profile:{what}"
            case "chat":
                address = self._address(what)
                self._known_bot(address.adapter)
                return f"chat:{address}"
            case _:
                raise UserError(
                    f"{text!r} is no scope", hint="write all, bot:PLATFORM/BOT, profile:NAME or chat:ADDRESS"
                )

    def _known_bot(self, key: AdapterKey) -> None:
        if key not in self.desk.bots:
            known = ", ".join(str(bot) for bot in self.desk.bots) or "none is configured"
            raise UserError(f"there is no bot {str(key)!r}", hint=f"write one of: {known}")

    def _address(self, text: str) -> Address:
        platform = text.partition(":")[0]
        bots = self.desk.bots.of_platform(platform)
        return Address.parse(text, default_bot=bots[0].bot_id if len(bots) == 1 else None)

    async def _record(self, kind: str, target: str) -> None:
        at = self.desk.clock.now()
        await self.desk.ledger.write(lambda tx: audit.append(tx, at=at, kind=kind, actor=_OPERATOR, target=target))


def _bot(bot: Bot) -> dict[str, Any]:
    return {
        "key": str(bot.key), "state": bot.state.value, "detail": bot.detail, "fix": bot.fix, "since": bot.since,
        "restarts": bot.restarts,
    }  # fmt: skip


def _broken(desk: Desk) -> list[dict[str, str]]:
    return [{"name": name, "reason": why} for name, why in desk.profiles.unavailable().items()]


def _links(desk: Desk) -> list[str]:
    adapters: list[object] = [bot.adapter for bot in desk.bots.values()]
    return [link for adapter in adapters if isinstance(adapter, OffersLinks) for link in adapter.links()]


def _route(route: Route) -> dict[str, Any]:
    return {
        "match": route.label, "profile": route.profile, "role": route.role, "name": route.name, "where": route.where,
    }  # fmt: skip


def _pairing(one: Pairing) -> dict[str, Any]:
    return asdict(one) | {"key": str(one.key)}


def _event(event: audit.AuditEvent) -> dict[str, Any]:
    return asdict(event) | {"prev_hash": event.prev_hash.hex(), "hash": event.hash.hex()}


def _midnight(at: float) -> float:
    return datetime.fromisoformat(day_of(at)).replace(tzinfo=UTC).timestamp()


def _text(args: Args, name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise UserError(f"the call needs {name!r}")
    return value
