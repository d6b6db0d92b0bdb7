"""The one HTTP server of the process: sockets, limits, mounts. Pages and APIs mount themselves on it."""

from hermesd.api.limits import HttpLimits
from hermesd.api.server import HttpServer

__all__ = ["HttpLimits", "HttpServer"]
