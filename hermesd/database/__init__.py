"""One SQLite file behind one connection, one thread and one writer task."""

from hermesd.database.database import Database
from hermesd.database.fault import DatabaseHealth
from hermesd.database.migration import Migration, Tx

__all__ = ["Database", "DatabaseHealth", "Migration", "Tx"]
