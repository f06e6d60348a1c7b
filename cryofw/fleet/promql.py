"""PromQL as far as fleet.yaml needs it: tokens, and templates with `${cryostat}` in them.

A placeholder may stand only inside a quoted string, where its value is escaped as the quotes ask
(and as a regular expression after `=~` and `!~`): a name can never become a piece of the query.
Grammar: Prometheus, "Querying basics" and promql/parser/lex.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_TOKENS = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)"""
    r"""|(?P<number>\.?[0-9][0-9A-Za-z_.]*)"""
    r"""|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)"""
    r"""|(?P<operator>=~|!~|!=|==|>=|<=|.)""",
    re.DOTALL,
)


class TokenKind(StrEnum):
    """What a piece of PromQL is; comments count as space."""

    SPACE = "space"
    STRING = "string"
    NUMBER = "number"
    NAME = "name"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Token:
    """One piece of a query; the pieces of a query joined are the query."""

    kind: TokenKind
    text: str


class PromqlError(ValueError):
    """A template that cannot be filled; the text is a sentence, `hint` the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def promql_tokens(query: str) -> Iterator[Token]:
    """The tokens of `query`, comments and spaces included.

    Raises:
        PromqlError: a quote is not closed.
    """
    for match in _TOKENS.finditer(query):
        kind = TokenKind(str(match.lastgroup))
        if kind is TokenKind.OPERATOR and match[0] in "\"'`":
            raise PromqlError(f"the quote at character {match.start() + 1} is not closed")
        yield Token(kind, match[0])


def check_promql(query: str, known: Collection[str]) -> None:
    """Check the placeholders of a template; `known` are the names that will have values.

    Raises:
        PromqlError: an unknown placeholder, or one outside of quotes.
    """
    fill_promql(query, dict.fromkeys(known, ""))


def fill_promql(query: str, values: Mapping[str, str]) -> str:
    """`query` with each `${name}` replaced by its value, escaped for where it stands.

    Raises:
        PromqlError: an unknown placeholder, one outside of quotes, or a value with a back quote
            inside back quotes, where nothing can be escaped.
    """
    filled: list[str] = []
    operator, before = "", ""
    for token in promql_tokens(query):
        text = token.text
        if token.kind is TokenKind.STRING:
            text = _fill_string(text, values, is_pattern=operator in {"=~", "!~"})
        elif before == "$" and text.startswith("{"):
            hint = 'for example {cryostat="${cryostat}"}'
            raise PromqlError("a placeholder stands outside of quotes", hint)
        if token.kind is not TokenKind.SPACE:
            operator = text if token.kind is TokenKind.OPERATOR else ""
        before = text
        filled.append(text)
    return "".join(filled)


def _fill_string(text: str, values: Mapping[str, str], *, is_pattern: bool) -> str:
    quote = text[0]

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            names = ", ".join(f"${{{one}}}" for one in sorted(values))
            raise PromqlError(
                f"the query uses the unknown `${{{name}}}`",
                f"known here: {names}" if names else "no placeholder is known here",
            )
        plain = _quote_pattern(values[name]) if is_pattern else values[name]
        if quote != "`":
            escaped = plain.replace("\\", "\\\\").replace(quote, f"\\{quote}")
            return escaped.replace("\n", "\\n")
        if "`" in plain:
            raise PromqlError(f"`${{{name}}}` has a back quote, and so has its string")
        return plain

    return _PLACEHOLDER.sub(value, text)


def _quote_pattern(text: str) -> str:
    """As Go's regexp.QuoteMeta: RE2 reads the answer as the text itself."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)
