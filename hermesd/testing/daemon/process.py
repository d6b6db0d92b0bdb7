"""The daemon as a process of its own, so that a test can end it as no program can expect."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from hermesd import control
from hermesd.testing.daemon.chat import WebChat
from hermesd.testing.daemon.notices import Notices

#: seconds a start, a reload or an end may take before a test gives up
GUARD = 30.0


class Process:
    """One `hermesd run`."""

    def __init__(self, child: asyncio.subprocess.Process, state: Path, log: Path, notices: Notices) -> None:
        self.notices = notices
        #: set once the process is gone
        self.code: int | None = None
        self._child, self._state, self._log = child, state, log

    @classmethod
    @asynccontextmanager
    async def started(
        cls, root: Path, config: Path, state: Path, command: tuple[str, ...], env: Mapping[str, str]
    ) -> AsyncIterator["Process"]:
        """Start and wait until it is ready. Raises ChildProcessError with its log when it ends before."""
        log = root / "process.log"
        places = ("--config", str(config), "--state", str(state))
        async with Notices(root / "notify").listening() as notices:
            base = {"PATH": os.defpath, "NOTIFY_SOCKET": str(notices.path), "LANG": "C.UTF-8", "HOME": str(root)}
            with log.open("ab") as out:
                child = await asyncio.create_subprocess_exec(
                    *(command or (sys.executable, "-m", "hermesd")), "run", *places, "--log-format", "json",
                    stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env={**base, **env}, cwd=root,
                )  # fmt: skip
            process = cls(child, state, log, notices)
            failure: Exception | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process._watch, name=f"watch {child.pid}")
                try:
                    await process._up()
                    yield process
                except Exception as error:  # noqa: BLE001  # raised again below, outside the group, as itself
                    failure = error
                finally:
                    if process.code is None:
                        child.kill()
            if failure is not None:
                raise failure

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def log(self) -> str:
        """Everything it and its predecessors wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.kill()
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM; the exit code once it has drained."""
        self._child.terminate()
        return await self.ended()

    async def hangup(self) -> str:
        """SIGHUP; what systemd is told once the reload is over."""
        count = len(self.notices.ready)
        self._child.send_signal(signal.SIGHUP)
        with anyio.fail_after(GUARD):
            await self.notices.changed.until(lambda: len(self.notices.ready) > count or self.code is not None)
        if self.code is not None:
            raise ChildProcessError(f"hermesd ended with {self.code}:\n{self.log}")
        return self.notices.ready[count].status

    async def ended(self) -> int:
        """The exit code, once there is one."""
        with anyio.fail_after(GUARD):
            await self.notices.changed.until(lambda: self.code is not None)
        return int(self.code or 0)

    async def call(self, name: str, **args: Any) -> Any:
        """Ask over the control socket, as the command line does."""
        return await to_thread.run_sync(partial(control.call, self._state / "control.sock", name, **args))

    async def chat(self) -> WebChat:
        """The first web chat."""
        return WebChat((await self.call("links"))[0])

    async def _up(self) -> None:
        with anyio.fail_after(GUARD):
            await self.notices.changed.until(lambda: bool(self.notices.ready) or self.code is not None)
        if not self.notices.ready:
            raise ChildProcessError(f"hermesd ended with {self.code}:\n{self.log}")

    async def _watch(self) -> None:
        self.code = await self._child.wait()
        self.notices.changed.notify()
