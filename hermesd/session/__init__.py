"""A profile's conversations: sessions, what was said in them, notes on what fell out of the window, search."""

from hermesd.session.schema import MIGRATIONS
from hermesd.session.store import SessionStore
from hermesd.session.value import Compactable, Exchange, Found, Session
from hermesd.session.window import estimate

__all__ = ["MIGRATIONS", "Compactable", "Exchange", "Found", "Session", "SessionStore", "estimate"]
