"""Plain YAML scalars by the YAML 1.2 core schema, and what YAML 1.1 readers take for else."""

from __future__ import annotations

import re

# YAML 1.2 core schema, chapter 10.3.2; what YAML 1.1 reads otherwise is in _AMBIGUOUS.
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_AMBIGUOUS = (
    (re.compile(r"(?i:yes|no|on|off|y|n)"), "true or false to some readers and text to others"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9]*)?"), "a number in base 60 to some"),
    (re.compile(r"[-+]?0[0-7_]+|0o[0-7]+"), "an octal number to some readers"),
    (re.compile(r"[-+]?[0-9]+(_[0-9]+)+"), "a number to some readers and text to others"),
    (re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?"), "a date to some readers and text to others"),
)


def is_null(text: str) -> bool:
    """Whether a plain scalar is a null, the empty one included."""
    return _NULL.fullmatch(text) is not None


def ambiguity(text: str) -> str:
    """How readers of YAML 1.1 and 1.2 differ about a plain scalar; empty if they agree."""
    for pattern, meaning in _AMBIGUOUS:
        if pattern.fullmatch(text):
            return meaning
    return ""


def resolve_plain(text: str) -> object:
    """A plain scalar by the YAML 1.2 core schema."""
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if len(text) > 100:
        return text  # no number of this domain; int() refuses thousands of digits anyway
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return text
