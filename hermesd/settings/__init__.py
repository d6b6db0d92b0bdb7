"""The configuration: read strictly, checked as a whole, frozen; and the one place that reads the environment."""

from hermesd.settings.document import Document, ListNode, MapNode, Node, Scalar, parse, read
from hermesd.settings.environment import Environment
from hermesd.settings.load import Loaded, load, load_text
from hermesd.settings.model import (
    ApiSettings,
    LimitSettings,
    LogSettings,
    RoleSettings,
    Settings,
    SpendLimit,
    SpendSettings,
    TriggerSettings,
    TriggerSource,
)
from hermesd.settings.name import is_profile_name
from hermesd.settings.secret import Secret, SecretSource
from hermesd.settings.validation import plain, validate

__all__ = [
    "ApiSettings",
    "Document",
    "Environment",
    "LimitSettings",
    "ListNode",
    "Loaded",
    "LogSettings",
    "MapNode",
    "Node",
    "RoleSettings",
    "Scalar",
    "Secret",
    "SecretSource",
    "Settings",
    "SpendLimit",
    "SpendSettings",
    "TriggerSettings",
    "TriggerSource",
    "is_profile_name",
    "load",
    "load_text",
    "parse",
    "plain",
    "read",
    "validate",
]
