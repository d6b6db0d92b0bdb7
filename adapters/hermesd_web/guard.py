"""The wall around the page's app: Host, Origin, token, and headers on every answer."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermesd_web.gate import Gate, Verdict
from hermesd_web.page import SECURITY_HEADERS

_REFUSALS: dict[Verdict, tuple[int, str]] = {
    "host": (421, "this page is not served under that host name; add it to allowed_hosts"),
    "origin": (403, "requests from other sites are refused"),
    "token": (401, "open the link hermesd printed; it holds the token"),
    "throttled": (429, "too many wrong tokens; try again in a moment"),
}


class Guard:
    """Lets a request through to `app` only as the gate says; everything below `/api/` needs the token."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        inside = scope["path"].removeprefix(scope.get("root_path", ""))
        private = inside != "/" and not inside.startswith("/assets/")
        client = scope["client"][0] if scope.get("client") else ""
        verdict = self._gate.judge(headers, client) if private else self._gate.judge_page(headers)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [*SECURITY_HEADERS, *([(b"cache-control", b"no-store")] if private else [])]
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        if verdict == "ok":
            await self._app(scope, receive, dressed)
        else:
            await _refusal(verdict)(scope, receive, dressed)


def _refusal(verdict: Verdict) -> Response:
    status, words = _REFUSALS[verdict]
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "3"} if status == 429 else None
    return JSONResponse({"error": words}, status, headers)
