"""A whole hermesd for tests: a temporary installation, run in this process or as one that can be killed.

    installation = Installation(tmp_path)
    installation.profile("default", soul="You are Ada.")
    installation.profile("career", model=installation.model(fake.base_url, "echo"), env={"MODEL_KEY": "…"})
    installation.telegram("main", "1:TOKEN", telegram.url, allow=["111"])
    installation.route("telegram", "-1001", "6", "career")
    async with installation.running() as daemon:          # a real `Life` in this loop
        alice.says(forum, "/profile", thread=6)
        ...
        installation.route("telegram", "-1001", "6", "default")
        await daemon.hangup()                               # SIGHUP, and its report once it has been applied

    async with installation.process() as process:           # `python -m hermesd run`, for kill -9
        ...
        await process.kill()

Nothing here sleeps: `Daemon.until` looks at the ledger after each commit, `hangup` and `process` wait for what systemd
would be told.
"""

from hermesd.testing.daemon.chat import WebChat
from hermesd.testing.daemon.installation import Installation
from hermesd.testing.daemon.lookout import LookoutTool
from hermesd.testing.daemon.notices import Notice, Notices
from hermesd.testing.daemon.process import Process
from hermesd.testing.daemon.running import Daemon

__all__ = ["Daemon", "Installation", "LookoutTool", "Notice", "Notices", "Process", "WebChat"]
