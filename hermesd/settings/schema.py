"""The JSON schema of the configuration file, for editors: `python -m hermesd.settings.schema FILE`."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from hermesd.ports import AdapterPlugin
from hermesd.settings.crosscheck import PLATFORMS
from hermesd.settings.model import SECTIONS, FileSettings
from hermesd.settings.name import PROFILE_NAME
from hermesd.settings.routes import RouteEntry

_PROFILE: Mapping[str, Any] = {"type": ["string", "integer"], "pattern": PROFILE_NAME}


def schema(plugins: Mapping[str, AdapterPlugin]) -> dict[str, Any]:
    """The schema of the whole file, with the bots of these platforms."""
    models = [plugins[platform].settings_model for platform in sorted(plugins)]
    every: list[type[BaseModel]] = [FileSettings, RouteEntry, *models]
    named, definitions = models_json_schema(
        [(model, "validation") for model in every],
        ref_template="#/$defs/{model}",
        schema_generator=_Schema,
    )
    defs = definitions["$defs"]
    bots = [{"allOf": [named[m, "validation"], _platform(p)]} for p, m in zip(sorted(plugins), models, strict=True)]
    defs["Routes"] = _routes(named[RouteEntry, "validation"])
    top = defs.pop("FileSettings")
    for section in SECTIONS:
        # a section whose lines are all comments is null to YAML
        top["properties"][section] = _nullable(top["properties"][section])
    top["properties"] |= {
        "bots": {"type": "array", "minItems": 1, "items": {"anyOf": bots}, "description": "one entry for each bot"},
        "routes": {"$ref": "#/$defs/Routes"},
        "gateway": _closed({"profile_routes": {"$ref": "#/$defs/Routes"}}),
        **{p: _closed({"topic_profiles": _nullable(_mapping(_PROFILE))}) for p in sorted({*PLATFORMS, *plugins})},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": "hermesd.yaml",
        "description": "The configuration of hermesd.",
        "required": ["bots"],
        "$defs": dict(sorted(defs.items())),
    }


class _Schema(GenerateJsonSchema):
    """An unquoted whole number is text to the loader, so ids and names may look like integers to an editor."""

    def str_schema(self, schema: core_schema.StringSchema) -> dict[str, Any]:
        return {**super().str_schema(schema), "type": ["string", "integer"]}


def _platform(platform: str) -> dict[str, Any]:
    return {"properties": {"platform": {"const": platform}}, "required": ["platform"]}


def _routes(entry: Mapping[str, Any]) -> dict[str, Any]:
    threads = _mapping(_PROFILE)
    chats = _nullable(_mapping({"anyOf": [_PROFILE, threads]}))
    mapping = {**_mapping(chats), "description": "platform[/bot]: {chat: profile} or {chat: {thread: profile}}"}
    entries = {"type": "array", "items": dict(entry), "description": "the list form"}
    return {"anyOf": [mapping, entries, {"type": "null"}], "description": "which conversation goes to which profile"}


def _mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": dict(values)}


def _nullable(inner: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(inner), {"type": "null"}]}


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return _nullable({"type": "object", "properties": dict(properties), "additionalProperties": False})


def text(plugins: Mapping[str, AdapterPlugin]) -> str:
    """The schema as it is committed."""
    return json.dumps(schema(plugins), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the schema of the installed adapters to a file, or to the standard output."""
    plugins = {found.name: found.load() for found in entry_points(group="hermesd.adapters")}
    if arguments:
        Path(arguments[0]).write_text(text(plugins), encoding="utf-8")
    else:
        sys.stdout.write(text(plugins))


if __name__ == "__main__":
    main(sys.argv[1:])
