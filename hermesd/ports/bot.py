"""What the configuration says about one bot, as far as every platform shares it."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_ENV = re.compile(r"^\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}$")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is, never the secret itself.

    Written `"${env:NAME}"`, `{file: path}` or `{credential: name}` (systemd LoadCredential). A literal is refused.
    """

    source: Literal["env", "file", "credential"]
    name: str

    def __str__(self) -> str:
        return f"${{env:{self.name}}}" if self.source == "env" else f"{{{self.source}: {self.name}}}"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Read one of the three spellings. Raises ValueError, which never repeats the value: it may be a secret."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and (match := _ENV.match(value)):
            return cls("env", match[1])
        if isinstance(value, dict) and len(value) == 1:
            source, name = next(iter(value.items()))
            if source == "env" and isinstance(name, str) and name:
                return cls("env", name)
            if source == "file" and isinstance(name, str) and name:
                return cls("file", name)
            if source == "credential" and isinstance(name, str) and name:
                return cls("credential", name)
        raise ValueError(
            'expected a reference: "${env:NAME}", {file: PATH} or {credential: NAME}, not the secret itself'
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        name = {"type": "string", "minLength": 1}
        references = [
            {"type": "object", "properties": {key: name}, "required": [key], "additionalProperties": False}
            for key in ("env", "file", "credential")
        ]
        return {
            "description": "a reference to a secret, never the secret itself",
            "anyOf": [{"type": "string", "pattern": _ENV.pattern}, *references],
        }


class AccessSettings(BaseModel):
    """Who may talk to a bot and who administers it; nobody unless written. Ids are immutable platform user ids."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: user ids, or the word `everyone`
    allow: Annotated[tuple[str, ...] | Literal["everyone"], Field(description="user ids, or `everyone`")] = ()
    admins: Annotated[
        tuple[str, ...], Field(description="user ids that may use admin commands; they may also talk")
    ] = ()
    require_mention: Annotated[bool, Field(description="in groups, answer only when addressed")] = True
    observe_only: Annotated[bool, Field(description="read along, never answer")] = False
    #: offer unknown people in direct messages a code that an operator approves
    pairing: Annotated[bool, Field(description="offer unknown people a pairing code in direct messages")] = True


class BotSettings(BaseModel):
    """One entry of `bots:`; an adapter derives its own model from this."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    platform: str
    bot_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="your name for this bot")]
    enabled: bool = True
    access: AccessSettings = AccessSettings()
