"""The files of one hermesd: configuration, secrets, profile homes."""

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import yaml

from hermesd.clock import Clock, SystemClock
from hermesd.ports import Tool
from hermesd.testing.daemon.process import Process
from hermesd.testing.daemon.running import Daemon, running


class Installation:
    """Everything below one folder. Each method writes at once; a running daemon sees it with the next reload."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "hermesd.yaml"
        #: short: socket paths may have 107 bytes
        self.state = root / "s"
        self.profiles = self.state / "profiles"
        #: tools every profile may choose beside the built-in ones, by toolset; only in this process
        self.tools: dict[str, list[Tool]] = {}
        #: what `save` writes; change it as you like and call `save`
        self.settings: dict[str, Any] = {"default_profile": "default", "drain_seconds": 2.0, "bots": [], "routes": {}}
        self.profiles.mkdir(mode=0o700, parents=True)
        self.state.chmod(0o700)
        self.save()

    # --- the configuration -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write `settings`."""
        plain = json.loads(json.dumps(self.settings))
        self.text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))

    def text(self, yaml_text: str) -> None:
        """Write the configuration file exactly so; `settings` no longer describes it until `save`."""
        draft = self.config.with_suffix(".draft")
        draft.write_text(yaml_text, encoding="utf-8")
        draft.replace(self.config)

    def secret(self, name: str, value: str) -> dict[str, str]:
        """Write a secret file; returns the reference to it."""
        place = self.root / "secrets" / name
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.write_text(value, encoding="utf-8")
        place.chmod(0o600)
        return {"file": f"secrets/{name}"}

    def telegram(
        self, bot_id: str, token: str, base_url: str, *, allow: Sequence[str] | str = (), **access: Any
    ) -> dict[str, Any]:
        """Add a Telegram bot, or give it other settings; its token lies in `secrets/<bot_id>`. Returns its entry."""
        entry = {
            "platform": "telegram",
            "bot_id": bot_id,
            "token": self.secret(bot_id, token),
            "base_url": base_url,
            "access": {"allow": allow, "require_mention": False, **access},
        }
        return self._bot(entry)

    def web(self, bot_id: str = "local", **more: Any) -> dict[str, Any]:
        """Add a web chat on a free port. Returns its entry."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        return self._bot({"platform": "web", "bot_id": bot_id, "listen": f"127.0.0.1:{port}", **more})

    def without(self, platform: str, bot_id: str) -> None:
        """Take a bot out."""
        self.settings["bots"] = [bot for bot in self.settings["bots"] if not _is(bot, platform, bot_id)]
        self.save()

    def route(self, platform: str, chat: str, thread: str | None, profile: str | None) -> None:
        """Route a place (`platform` or `platform/bot`) to a profile; None takes the route out."""
        chats = self.settings["routes"].setdefault(platform, {})
        where, key = (chats, chat) if thread is None else (chats.setdefault(chat, {}), thread)
        if profile is None:
            where.pop(key, None)
        else:
            where[key] = profile
        self.save()

    def _bot(self, entry: dict[str, Any]) -> dict[str, Any]:
        bots = self.settings["bots"]
        others = [bot for bot in bots if not _is(bot, entry["platform"], entry["bot_id"])]
        self.settings["bots"] = [*others, entry]
        self.save()
        return entry

    # --- profiles --------------------------------------------------------------------------------------------------

    def profile(
        self,
        name: str,
        *,
        soul: str = "",
        model: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        memory: Sequence[str] = (),
        user: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        **config: Any,
    ) -> Path:
        """Write a profile's home anew, keeping its database and whatever is not said here; returns its folder.

        `memory` and `user` are entries; `files` are texts by their path in the home; the rest are keys of config.yaml.
        """
        home = self.profiles / name
        home.mkdir(mode=0o700, exist_ok=True)
        block = {"model": dict(model)} if model is not None else {}
        texts = {
            "config.yaml": yaml.safe_dump(json.loads(json.dumps({**block, **config})), sort_keys=False),
            "SOUL.md": soul,
            ".env": "".join(f"{key}={json.dumps(value)}\n" for key, value in (env or {}).items()),
            "memories/MEMORY.md": "\n§\n".join(memory),
            "memories/USER.md": "\n§\n".join(user),
            **(files or {}),
        }
        for path, text in texts.items():
            place = home / path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
            place.chmod(0o600)
        return home

    @staticmethod
    def model(base_url: str, name: str = "echo", *, provider: str = "custom", **more: Any) -> dict[str, Any]:
        """A `model:` block whose key is `MODEL_KEY` of the profile's .env."""
        return {
            "provider": provider,
            "default": name,
            "base_url": base_url,
            "api_key": "${env:MODEL_KEY}",
            **more,
        }

    # --- running it ------------------------------------------------------------------------------------------------

    def running(self, *, clock: Clock | None = None) -> AbstractAsyncContextManager[Daemon]:
        """`async with installation.running() as daemon`: a real daemon in this loop, ready; stopped at the end."""
        return running(self, clock or SystemClock())

    def process(self, *command: str, env: Mapping[str, str] | None = None) -> AbstractAsyncContextManager[Process]:
        """`async with installation.process() as process`: the daemon as a process of its own, ready; killed at the end.

        `command` replaces `python -m hermesd`; it gets the same arguments.
        """
        return Process.started(self.root, self.config, self.state, command, env or {})


def _is(bot: Mapping[str, Any], platform: str, bot_id: str) -> bool:
    return (bot["platform"], bot["bot_id"]) == (platform, bot_id)
