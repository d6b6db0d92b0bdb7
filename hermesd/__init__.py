"""hermesd: one daemon, many bots, every conversation in its own profile."""

__version__ = "0.1.0"
