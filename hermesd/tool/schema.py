"""Checking a tool's arguments against its JSON schema: the part of JSON schema tools use, no more."""

import json
from collections.abc import Mapping
from typing import Any

from hermesd.errors import UserError

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def arguments_of(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments object, valid and with clean strings. Raises UserError naming each wrong field."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError("the arguments are not JSON", hint="send one JSON object") from error
    if not isinstance(value, dict):
        raise UserError("the arguments are not a JSON object", hint="send one JSON object")
    # null is how many models leave an optional field out
    value = {name: _clean(item) for name, item in value.items() if item is not None}
    problems = list(_problems(value, schema))
    if problems:
        raise UserError("; ".join(problems[:5]), hint=f"expected {_signature(schema)}")
    return value


def _problems(value: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    found = [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        if name not in properties:
            found.append(f"{name[:40]} is not known")
        elif problem := _problem(item, properties[name]):
            found.append(f"{name} {problem}")
    return found


def _problem(item: Any, schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if kind in _TYPES and (not isinstance(item, _TYPES[kind]) or (isinstance(item, bool) and kind != "boolean")):
        return f"must be of type {kind}"
    if "enum" in schema and item not in schema["enum"]:
        return f"must be one of {', '.join(map(str, schema['enum']))}"
    if isinstance(item, str) and len(item) > schema.get("maxLength", len(item)):
        return f"is longer than {schema['maxLength']:,} characters"
    if isinstance(item, int | float) and not schema.get("minimum", item) <= item <= schema.get("maximum", item):
        return "is out of range"
    if isinstance(item, list) and "items" in schema:
        return next((f"item {problem}" for entry in item if (problem := _problem(entry, schema["items"]))), "")
    return ""


def _clean(value: Any) -> Any:
    """Strings as valid Unicode: JSON may spell lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return {_clean(key): _clean(item) for key, item in value.items()} if isinstance(value, dict) else value


def _signature(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    return ", ".join(f"{name}{'' if name in required else '?'}" for name in schema.get("properties", {})) or "nothing"
