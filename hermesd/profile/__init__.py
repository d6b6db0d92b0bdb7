"""Profiles: their homes, their settings and secrets, and the one door by name."""

from hermesd.profile.context import EngineBuilder, ProfileContext
from hermesd.profile.home import RESERVED, Home, allowed
from hermesd.profile.load import Blueprint, ModelReader, load
from hermesd.profile.registry import ProfileDiff, ProfileRegistry, Survey
from hermesd.profile.secrets import Secrets
from hermesd.profile.settings import ProfileSettings

__all__ = [
    "RESERVED",
    "Blueprint",
    "EngineBuilder",
    "Home",
    "ModelReader",
    "ProfileContext",
    "ProfileDiff",
    "ProfileRegistry",
    "ProfileSettings",
    "Secrets",
    "Survey",
    "allowed",
    "load",
]
