"""The series that a PromQL expression rests on, so that their age can be asked for.

An answer of Prometheus carries the time of the evaluation, not that of the samples behind it, and
a sample up to five minutes old still counts there. `timestamp(SELECTOR)` tells the real age, but
of a plain selector only: here the selectors are taken out of an expression.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryofw.fleet import Token, TokenKind, promql_tokens

_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"}) | _GROUPING


@dataclass(frozen=True)
class Selector:
    """A vector selector of an expression; `over` is its range, such as `5m` or `1h:30s`."""

    text: str
    over: str = ""


def selectors(query: str) -> tuple[Selector, ...]:
    """The vector selectors of a valid `query`, each once, in order.

    Raises:
        PromqlError: a quote is not closed.
    """
    tokens = [one for one in promql_tokens(query) if one.kind is not TokenKind.SPACE]
    found: dict[Selector, None] = {}
    place = 0
    while place < len(tokens):
        token = tokens[place]
        follower = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if token.text.lower() in _GROUPING and follower == "(":
            place = _closing(tokens, place + 1) + 1
        elif token.text in {"[", "("} or not _begins_selector(token, follower):
            # A range that stands here belongs to a subquery: what is inside was seen already.
            place = _closing(tokens, place) + 1 if token.text == "[" else place + 1
        else:
            place = _take(tokens, place, found)
    return tuple(found)


def _begins_selector(token: Token, follower: str) -> bool:
    if token.kind is TokenKind.NAME:
        # `sum by (x) (y)`: an aggregation is no series, with its grouping before or after.
        grouped = follower.lower() in {"by", "without"}
        return token.text.lower() not in _WORDS and follower != "(" and not grouped
    return token.text == "{"


def _take(tokens: list[Token], place: int, found: dict[Selector, None]) -> int:
    """Note the selector that begins at `place`; where to go on."""
    end = place
    if tokens[place].kind is TokenKind.NAME and _text(tokens, place + 1) == "{":
        end = place + 1
    if tokens[end].text == "{":
        end = _closing(tokens, end)
    text = "".join(one.text for one in tokens[place : end + 1])
    over = ""
    if _text(tokens, end + 1) == "[":
        close = _closing(tokens, end + 1)
        over = "".join(one.text for one in tokens[end + 2 : close])
        end = close
    found.setdefault(Selector(text, over))
    return end + 1


def _text(tokens: list[Token], place: int) -> str:
    return tokens[place].text if place < len(tokens) else ""


def _closing(tokens: list[Token], place: int) -> int:
    """Where the bracket that opens at `place` closes; the last token if it never does."""
    opening = tokens[place].text
    closing = {"(": ")", "[": "]", "{": "}"}[opening]
    depth = 0
    for index in range(place, len(tokens)):
        depth += (tokens[index].text == opening) - (tokens[index].text == closing)
        if depth == 0:
            return index
    return len(tokens) - 1
