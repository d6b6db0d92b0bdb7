"""Which rows of a conversation a model gets to see: pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hermesd.ports import Row

#: what a role, an id and the punctuation around a message cost
_ENVELOPE = 6
_CUT = "\n[… shortened …]"


def estimate(row: Row) -> int:
    """Tokens this row is likely to cost: a quarter of its UTF-8 bytes, which holds for prose in any script."""
    letters = len(row.text.encode("utf-8", "surrogatepass"))
    letters += sum(len(call.name) + len(call.arguments.encode("utf-8", "surrogatepass")) for call in row.calls)
    return letters // 4 + _ENVELOPE


def fit(newest_first: Iterable[tuple[int, Row]], budget: int) -> tuple[Row, ...]:
    """The newest rows, oldest first, whose estimates add up to at most `budget` and that begin with a prompt.

    When not even the last exchange fits, its prompt and its answer come shortened: it is never forgotten whole.
    """
    taken: list[Row] = []
    last: list[Row] = []
    fitting, spent = True, 0
    for tokens, row in newest_first:
        spent += tokens
        fitting = fitting and spent <= budget
        if fitting:
            taken.append(row)
        if not last or last[-1].role != "user":
            last.append(row)
        elif not fitting:
            break
    rows = sound(_from_prompt(taken[::-1]))
    return rows or _shortened(last[::-1], budget)


def _from_prompt(rows: Sequence[Row]) -> Sequence[Row]:
    start = next((n for n, row in enumerate(rows) if row.role == "user"), len(rows))
    return rows[start:]


def sound(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows without calls that have no answer and without answers that have no call: no provider takes those."""
    answered = {row.call_id for row in rows if row.role == "tool"}
    asked = {call.call_id for row in rows for call in row.calls}
    kept: list[Row] = []
    for row in rows:
        if row.role == "tool" and row.call_id not in asked:
            continue
        if any(call.call_id not in answered for call in row.calls):
            row = replace(row, calls=tuple(call for call in row.calls if call.call_id in answered))
        if row.text or row.calls or row.role != "assistant":
            kept.append(row)
    return tuple(kept)


def _shortened(exchange: Sequence[Row], budget: int) -> tuple[Row, ...]:
    prompt = next((row for row in exchange if row.role == "user"), None)
    answer = next((row for row in reversed(exchange) if row.role == "assistant" and row.text), None)
    if prompt is None:
        return ()
    share = max(0, budget // 2 - _ENVELOPE - len(_CUT))
    return tuple(replace(row, text=_cut(row.text, share), calls=()) for row in (prompt, answer) if row is not None)


def _cut(text: str, tokens: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= tokens * 4 else data[: tokens * 4].decode("utf-8", "ignore") + _CUT
