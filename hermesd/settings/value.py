"""What a scalar means: text unless it is plainly something else, and an error where YAML versions disagree.

Whole numbers stay text in their source spelling, so ids are never rewritten; a model turns them into numbers where it
wants numbers.
"""

import re

from hermesd.settings.document import Scalar, shown

#: `true`, `false`, null, a decimal fraction, or text
Value = str | float | bool | None

_PLAIN_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_TEXT = re.compile(r"[A-Za-z/_$@*][A-Za-z0-9_./${}:@ *-]*")
_WHOLE = re.compile(r"-?[0-9]+")
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+")
_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off"})
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
#: everything some YAML reader takes for a number in another spelling
_ODD_NUMBER = re.compile(
    r"""[-+]?0[xX][0-9a-fA-F_]+ | [-+]?0[oO][0-7_]+ | [-+]?0[bB][01_]+
      | [-+]?[0-9][0-9_]* | [-+]?(?:[0-9][0-9_]*)?\.[0-9_]*(?:[eE][-+]?[0-9]+)? | [-+]?[0-9][0-9_.]*[eE][-+]?[0-9]+
      | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN) | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*""",
    re.VERBOSE,
)
_SECRET_KEY = re.compile(r"token|secret|passw|credential|api_?key|(?:^|[._])key$|auth", re.IGNORECASE)


class Unclear(ValueError):
    """The scalar means different things to different readers; `hint` says how to write it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def meaning(scalar: Scalar) -> Value:
    """The value of a scalar; a whole number comes as its source text. Raises Unclear."""
    text = scalar.text
    if not scalar.plain:
        return text
    if text in _PLAIN_WORDS:
        return _PLAIN_WORDS[text]
    if text.lower() in _BOOLEANS:
        meant = "true" if text.lower() in ("true", "yes", "on") else "false"
        raise Unclear("a boolean is written `true` or `false`", f'write {meant}, or "{text}" in quotes if it is text')
    if text.lower() == "null":
        raise Unclear("nothing is written `null`", "write null, or put it in quotes if it is text")
    if _TEXT.fullmatch(text) or _WHOLE.fullmatch(text):
        return text
    if _FRACTION.fullmatch(text):
        return float(text)
    if _ODD_NUMBER.fullmatch(text):
        raise Unclear(
            "not a plain decimal number", "write the number in decimal digits, or put it in quotes if it is text"
        )
    if _DATE.fullmatch(text):
        raise Unclear("a date without quotes", "put it in quotes")
    return text


def identifier(scalar: Scalar) -> str:
    """The value as an id or a name: the quoted text, or the source text of a whole number or word. Raises Unclear."""
    value = meaning(scalar)
    if isinstance(value, str) and value:
        return value
    raise Unclear("expected an id or a name", f'write it in quotes: "{shown(scalar.text)}"' if scalar.text else "")


def whole_or_fraction(scalar: Scalar) -> bool:
    """Whether it is a number in plain decimal digits, quoted or not."""
    return _WHOLE.fullmatch(scalar.text) is not None or _FRACTION.fullmatch(scalar.text) is not None


def secret_looking(key: str) -> bool:
    """Whether values under this key path must not be shown."""
    return _SECRET_KEY.search(key) is not None
