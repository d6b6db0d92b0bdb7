"""Text from outside, made harmless for one line of a log or a terminal."""

import re

#: C0 and C1 controls, line separators and the marks that reorder text: what could forge or repaint a line
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def escape(text: str) -> str:
    r"""Control characters written out as `\uXXXX`: they reach no terminal and start no new line."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
