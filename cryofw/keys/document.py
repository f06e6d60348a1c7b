"""The text of a keyring, read strictly: YAML's plain loaders drop duplicate keys in silence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cryofw.image import Algorithm
from cryofw.keys.errors import Finding
from cryofw.keys.purpose import Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum

    from yaml import Node

SCHEMA = "cryofw.keys/v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LARGEST_KEYRING = 1 << 20
"""Bytes."""
_FIELDS = ("uri", "purpose", "algorithm", "public")
_STRING_TAG = "tag:yaml.org,2002:str"

_Choice = TypeVar("_Choice", bound="StrEnum")


class EntryText(NamedTuple):
    """An entry as it stands in the file; only its form is checked."""

    name: str
    uri: str
    purpose: Purpose
    algorithm: Algorithm
    public: str | None
    line: int
    column: int


def parse_document(data: bytes) -> tuple[list[EntryText], list[Finding]]:
    """Read a keyring's text; return the entries that are well formed, and all mistakes."""
    findings: list[Finding] = []
    root = _compose(data, findings)
    if root is None:
        return [], findings
    reader = _Reader(findings)
    top = reader.mapping(root, "a keyring", ("schema", "keys"), required=("schema", "keys"))
    if "schema" in top and (schema := reader.text(top["schema"], "schema")) not in (None, SCHEMA):
        reader.find(top["schema"], f"schema is {schema!r}; this cryofw knows {SCHEMA}")
    if "keys" not in top:
        return [], findings
    entries = [reader.entry(name, node) for name, node in reader.pairs(top["keys"], "keys")]
    return [entry for entry in entries if entry is not None], findings


def _compose(data: bytes, findings: list[Finding]) -> Node | None:
    if len(data) > LARGEST_KEYRING:
        findings.append(Finding(1, 1, f"the file is larger than {LARGEST_KEYRING} bytes"))
        return None

    import yaml

    try:
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        findings.append(Finding(line, 1, "not UTF-8 text"))
    except RecursionError:
        findings.append(Finding(1, 1, "nested too deeply"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        findings.append(Finding(line, column, f"not YAML: {error.problem or error.context}"))
    except yaml.YAMLError as error:
        findings.append(Finding(1, 1, f"not YAML: {str(error).splitlines()[0]}"))
    else:
        if root is not None:
            return root
        findings.append(
            Finding(1, 1, f"the file is empty; expected `schema: {SCHEMA}` and `keys:`")
        )
    return None


class _Reader:
    """Walks the nodes and collects what is wrong with them."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings

    def find(self, node: Node, message: str) -> None:
        mark = node.start_mark
        self._findings.append(Finding(mark.line + 1, mark.column + 1, message))

    def pairs(self, node: Node, what: str) -> Iterator[tuple[Node, Node]]:
        """Yield key and value nodes of a mapping; report duplicates and other kinds of nodes."""
        from yaml import MappingNode, ScalarNode

        if not isinstance(node, MappingNode):
            self.find(node, f"{what} must be a mapping")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.find(key, f"a name in {what} must be plain text")
            elif key.value in seen:
                self.find(key, f"{key.value!r} stands twice, first in line {seen[key.value]}")
            else:
                seen[key.value] = key.start_mark.line + 1
                yield key, value

    def mapping(
        self, node: Node, what: str, known: tuple[str, ...], required: tuple[str, ...]
    ) -> dict[str, Node]:
        """Return the values by name; report unknown and missing names."""
        from yaml import MappingNode

        values: dict[str, Node] = {}
        for key, value in self.pairs(node, what):
            if key.value in known:
                values[key.value] = value
            else:
                self.find(key, f"{what} has no field {key.value!r}; it has {', '.join(known)}")
        missing = [name for name in required if name not in values]
        if missing and isinstance(node, MappingNode):
            self.find(node, f"{what} lacks {' and '.join(missing)}")
        return values

    def text(self, node: Node, what: str) -> str | None:
        """Return a string; None, and a finding, for anything else."""
        from yaml import ScalarNode

        if not isinstance(node, ScalarNode) or node.tag != _STRING_TAG or not node.value:
            self.find(node, f"{what} must be text")
        elif not node.value.isprintable():  # YAML's escapes can make NUL and half characters
            self.find(node, f"{what} has characters that no name of a file or key has")
        else:
            return str(node.value)
        return None

    def choice(self, node: Node, what: str, kind: type[_Choice]) -> _Choice | None:
        """Return a member of an enum; None, and a finding with the members, for anything else."""
        text = self.text(node, what)
        if text is None:
            return None
        try:
            return kind(text)
        except ValueError:
            self.find(node, f"unknown {what} {text!r}; it is one of {', '.join(kind)}")
            return None

    def entry(self, name: Node, node: Node) -> EntryText | None:
        """Return one entry of `keys`; None when it has mistakes, which are then reported."""
        before = len(self._findings)
        if not _NAME.fullmatch(name.value):
            self.find(name, f"{name.value!r} is no name: letters, digits, dot, dash, underscore")
        what = f"key {name.value!r}"
        fields = self.mapping(node, what, _FIELDS, required=_FIELDS[:3])
        uri = self.text(fields["uri"], "uri") if "uri" in fields else None
        public = self.text(fields["public"], "public") if "public" in fields else None
        purpose = (
            self.choice(fields["purpose"], "purpose", Purpose) if "purpose" in fields else None
        )
        algorithm = (
            self.choice(fields["algorithm"], "algorithm", Algorithm)
            if "algorithm" in fields
            else None
        )
        if len(self._findings) > before or uri is None or purpose is None or algorithm is None:
            return None
        mark = name.start_mark
        return EntryText(
            name.value, uri, purpose, algorithm, public, mark.line + 1, mark.column + 1
        )
