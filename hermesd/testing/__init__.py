"""Fakes and doubles that speak the real protocols, for tests, the bench and people trying things out."""
