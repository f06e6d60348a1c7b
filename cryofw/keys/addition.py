"""Add an entry to a keyring file, leaving the comments and the layout of people alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryofw.keys.document import SCHEMA, parse_document
from cryofw.keys.errors import KeyringError

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.image import Algorithm
    from cryofw.keys.purpose import Purpose

_HEAD = f"""\
# Which key signs what. Private keys stay out of version control; public halves may go in.
schema: {SCHEMA}
keys:
"""


def with_entry(
    path: Path,
    text: str | None,
    name: str,
    uri: str,
    purpose: Purpose,
    algorithm: Algorithm,
    public: str | None = None,
) -> str:
    """Return a keyring's text with one more entry at its end.

    Args:
        path: of the keyring, for messages.
        text: its present text; None starts a new one.
        name, uri, purpose, algorithm, public: the new entry.

    Raises:
        KeyringError: the text has mistakes, has the name already, or does not end with its
            `keys:` as a block of lines.
    """
    fields = f"uri: {_quoted(uri)}, purpose: {purpose}, algorithm: {algorithm}"
    if public is not None:
        fields += f", public: {_quoted(public)}"
    line = f"{name}: {{{fields}}}\n"
    if text is None:
        return f"{_HEAD}  {line}"
    before, findings = parse_document(text.encode())
    if findings:
        first = findings[0]
        raise KeyringError(
            f"the keyring {path} has a mistake", why=f"line {first.line}: {first.message}"
        )
    if any(entry.name == name for entry in before):
        raise KeyringError(f"{path} has a key {name!r} already", hint="choose another name")
    indent = " " * (before[0].column - 1) if before else "  "
    result = text + ("" if text.endswith("\n") else "\n") + indent + line
    after, findings = parse_document(result.encode())
    if findings or after[:-1] != before or after[-1].name != name:
        raise KeyringError(
            f"cannot add to {path}: its `keys:` is not a block at the end of the file",
            hint=f"add this line below `keys:` yourself:  {line.strip()}",
        )
    return result


def _quoted(text: str) -> str:
    """A YAML scalar inside a flow mapping: bare where that is plain, else double-quoted."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9:/._-]*", text) and not text.endswith(":"):
        return text
    import json

    return json.dumps(text, ensure_ascii=False)
