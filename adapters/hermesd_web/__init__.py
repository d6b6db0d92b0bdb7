"""A chat page on this machine: rooms and threads in a browser, for hermesd."""

from hermesd_web.plugin import WebPlugin

#: what the entry point `web` names
plugin = WebPlugin()

__all__ = ["WebPlugin", "plugin"]
