"""One ASGI app below one path, with an end: leaving tells its requests, waits a little, then cancels."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermesd.ports import Log


class Mount:
    """Runs the requests of one app and can end them all, open streams included."""

    def __init__(self, path: str, app: ASGIApp, log: Log) -> None:
        #: `/` or `/name`, without a trailing slash
        self.path = path
        self._app = app
        self._log = log
        self._leaving = anyio.Event()
        self._idle = anyio.Event()
        self._running: set[anyio.CancelScope] = set()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever the app does: an error becomes 500, a cancelled one 503."""
        answer = _Answer(send)
        cancel = anyio.CancelScope()
        self._running.add(cancel)
        try:
            with cancel:
                await self._app(scope, _until(self._leaving, receive), answer.send)
        except Exception as error:  # noqa: BLE001  # the door answers for every app behind it
            self._log.error(
                "a request failed",
                action="http.error",
                mount=self.path,
                method=scope["method"],
                error=type(error).__name__,
                place=_place(error),
            )
            await answer.end(500)
        else:
            await answer.end(503)
        finally:
            self._running.discard(cancel)
            if not self._running:
                self._idle.set()

    async def leave(self, grace: float) -> None:
        """End every request: streams are told at once, the rest is cancelled after `grace` seconds."""
        self._leaving.set()
        for seconds in (grace, 1.0):
            if not self._running:
                return
            self._idle = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._idle.wait()
            for cancel in self._running:
                cancel.cancel()


class _Answer:
    """The response of one request; can be completed when the app did not."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = False
        self._complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
        await self._send(message)

    async def end(self, status: int) -> None:
        """Finish what is open; `status` only if nothing was said yet."""
        if self._complete:
            return
        if not self._started:
            headers = [(b"content-length", b"0"), (b"connection", b"close"), (b"cache-control", b"no-store")]
            await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _until(leaving: anyio.Event, receive: Receive) -> Receive:
    """`receive` that also reports a disconnect once the mount leaves; a request body is still read whole."""
    whole = False

    async def either() -> Message:
        nonlocal whole
        if not whole:
            message = await receive()
            whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message
        said: Message = {"type": "http.disconnect"}

        async def hear() -> None:
            nonlocal said
            said = await receive()
            tasks.cancel_scope.cancel()

        async def watch() -> None:
            await leaving.wait()
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear, name="http receive")
            tasks.start_soon(watch, name="http leaving")
        return said

    return either


def _place(error: BaseException) -> str:
    """The innermost frame, `file:line`; never the text of the error, which may quote what a person wrote."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
