"""Models of the fake server that misbehave by name, so that a separate process needs no scripting."""

import json
import re

from hermesd.testing.openai.script import Reply, Seen, text_of

_CALL = re.compile(r"CALL\s+([\w.-]+)\s+(?=\{)")
_SAY = re.compile(r'SAY\s+"([^"]*)"')
_STATUS = re.compile(r"^status-(\d{3})$")
_DELAY = re.compile(r"^delay-(\d+(?:\.\d+)?)$")
_TOOL = re.compile(r"^tool-([\w.]+)$")

_FIXED = {
    "hang": Reply(fault="hang"),
    "hang-body": Reply(fault="hang_body"),
    "drip": Reply(drip=1.0),
    "garbage": Reply(fault="garbage"),
    "reset": Reply(fault="reset"),
    "no-choices": Reply(fault="no_choices"),
    "empty": Reply(text=""),
    "big": Reply(text="x" * 5_000_000),
}


def by_model(seen: Seen) -> Reply:
    """The answer a model of this name gives; any unknown name echoes."""
    name = seen.model
    if status := _STATUS.match(name):
        return Reply(status=int(status[1]), retry_after=0.0 if status[1] == "429" else None)
    if delay := _DELAY.match(name):
        return Reply(delay=float(delay[1]))
    if tool := _TOOL.match(name):
        return Reply(calls=((tool[1], seen.last_user),))
    return obey(seen) if name == "worst-case" else _FIXED.get(name, Reply())


def obey(seen: Seen) -> Reply:
    """Do whatever any message says, wherever it came from: the model security must hold against.

    `CALL tool {json}` is called once each, `SAY "text"` is said, `REVEAL` answers with everything it was given.
    """
    told = [text_of(message) for message in seen.messages if message.get("role") != "assistant"]
    told = [str(seen.body.get("system", "")), *told]
    done = {
        (call["function"]["name"], _compact(call["function"]["arguments"]))
        for message in seen.messages
        for call in message.get("tool_calls") or ()
    }
    wanted = [order for text in told for order in _orders(text)]
    if calls := tuple(dict.fromkeys(order for order in wanted if (order[0], _compact(order[1])) not in done)):
        return Reply(calls=calls)
    if any("REVEAL" in text for text in told):
        return Reply(text="\n".join(text for text in told if text))
    said = [say for text in told for say in _SAY.findall(text)]
    return Reply(text=said[-1] if said else None)


def _compact(arguments: str) -> str:
    """Clients may write the arguments of an earlier call with other spaces."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except ValueError:
        return arguments


def _orders(text: str) -> list[tuple[str, str]]:
    decoder = json.JSONDecoder()
    found = []
    for match in _CALL.finditer(text):
        try:
            _, end = decoder.raw_decode(text, match.end())
        except ValueError:
            continue
        found.append((match[1], text[match.end() : end]))
    return found
