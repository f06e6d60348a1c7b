"""A YAML file as plain values that remember where they stand.

PyYAML's own loaders drop a duplicate key in silence, read `no` as False and `12:30` as 750
(YAML 1.1). Here its event stream is composed by hand: scalars resolve by the YAML 1.2 core
schema, as editors and JSON Schema see them, and what the two versions read differently is refused.
Every defect is collected; only broken syntax ends the reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import yaml

from cryofw.fleet.finding import Finding, excerpt
from cryofw.fleet.scalar import ambiguity, is_null, resolve_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

Path: TypeAlias = "tuple[str | int, ...]"

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 100_000  # after aliases are expanded: a "billion laughs" ends here


@dataclass(frozen=True)
class Mark:
    """A place in the file: line and column from 1, and how many characters are meant."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Problem:
    """A defect at a path of the document; `on_key` points at the key instead of its value."""

    path: Path
    message: str
    hint: str = ""
    on_key: bool = False


@dataclass
class Document:
    """The values of a YAML file and the marks of every key and value."""

    name: str
    lines: list[str]
    value: object = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def report(self, mark: Mark, message: str, hint: str = "") -> None:
        """Collect a defect at `mark`; the same defect at the same place counts once."""
        text = self.lines[mark.line - 1] if 0 < mark.line <= len(self.lines) else ""
        shown = excerpt(text, mark.line, mark.column, mark.length) if text.strip() else ""
        finding = Finding(mark.line, mark.column, message, hint, shown)
        if finding not in self.findings:
            self.findings.append(finding)

    def report_problem(self, problem: Problem) -> None:
        """Collect a defect at a path; a path that is not in the file means what holds it."""
        path = problem.path
        while path and path not in self.values:
            path = path[:-1]
        value = self.values.get(path, Mark(1, 1))
        on_key = problem.on_key or path != problem.path
        mark = self.keys.get(path, value) if on_key else value
        self.report(mark, problem.message, problem.hint)


class _Unreadable:
    """Stands for a value that was already reported, so that nobody complains about it twice."""


UNREADABLE = _Unreadable()


class _Fatal(Exception):
    """Reading cannot go on; the finding is already in the document."""


def read_document(text: str, name: str) -> Document:
    """Compose `text`; defects are in `findings` of the answer, never raised."""
    document = Document(name, text.splitlines())
    try:
        if len(text) > MAX_BYTES:
            document.report(Mark(1, 1), "the file is larger than 1 MiB")
            return document
        _Composer(document, text).compose()
    except _Fatal:
        pass
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(at.line + 1, at.column + 1) if at else Mark(1, 1)
        document.report(mark, f"not valid YAML: {_syntax(error)}", _syntax_hint(error))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        code = ord(text[error.position])
        document.report(mark, f"the character #x{code:04x} may not stand here")
    return document


def _syntax(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return ", ".join(parts) or "cannot be parsed"


def _syntax_hint(error: yaml.MarkedYAMLError) -> str:
    if "\\t" in str(error.problem):
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in str(error.problem):
        return "text that contains `: ` needs quotes"
    return ""


class _Composer:
    """Turns the events of one file into values with marks."""

    def __init__(self, document: Document, text: str) -> None:
        self.document = document
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.anchors: dict[str, list[yaml.Event]] = {}
        self.open_anchors: list[tuple[str, int, list[yaml.Event]]] = []
        self.replay: list[yaml.Event] = []
        self.nodes = 0

    def compose(self) -> None:
        """Read one YAML document and insist that there is no second one."""
        while not isinstance(self._next(), yaml.DocumentStartEvent):
            pass
        self.document.value = self._node((), self._next())
        self._next()
        after = self._next()
        if isinstance(after, yaml.DocumentStartEvent):
            self._fatal(_mark(after), "a second YAML document begins here", "keep one per file")

    def _next(self) -> yaml.Event:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._fatal(Mark(1, 1), f"more than {MAX_NODES} values once aliases are expanded")
        if self.replay:
            return self.replay.pop()
        event = next(self.events, None)
        if event is None:
            self._fatal(Mark(1, 1), "the file is empty", "`cryofw init` writes an example")
        self._record(event)
        return event

    def _record(self, event: yaml.Event) -> None:
        """Keep the events of anchored nodes, so that an alias can replay them."""
        opens = isinstance(event, yaml.CollectionStartEvent)
        closes = isinstance(event, yaml.CollectionEndEvent)
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            anchor = None
        if anchor is not None:
            if anchor in self.anchors:
                self._report(event, f"the anchor `&{anchor}` is defined twice")
            self.open_anchors.append((anchor, 0, []))
        still_open = []
        for name, depth, events in self.open_anchors:
            events.append(event)
            depth += opens - closes
            if depth:
                still_open.append((name, depth, events))
            else:
                self.anchors[name] = events
        self.open_anchors = still_open

    def _node(self, path: Path, event: yaml.Event) -> object:
        if len(path) > MAX_DEPTH:
            self._fatal(_mark(event), f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            event = self._aliased(event)
        self.document.values[path] = _mark(event)
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            self._report(event, f"the tag `{tag}` is not allowed", "write the plain value")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, yaml.ScalarEvent)
        return self._scalar(event)

    def _aliased(self, alias: yaml.AliasEvent) -> yaml.Event:
        name = str(alias.anchor)
        events = self.anchors.get(name)
        if events is None:
            inside = any(name == open_name for open_name, _, _ in self.open_anchors)
            what = "contains itself" if inside else "is not defined"
            self._fatal(_mark(alias), f"the alias `*{name}` {what}")
        # The alias itself was recorded in the enclosing anchors; replaying it there is right.
        self.replay.extend(reversed(events))
        return self._next()

    def _mapping(self, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        first_lines: dict[str, int] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event)
            where = _mark(event)
            if key is None or key in values:
                if key is not None:
                    line = first_lines[key]
                    self._report(event, f"duplicate key `{key}`", f"it stands on line {line} too")
                self._skip()
                continue
            first_lines[key] = where.line
            self.document.keys[(*path, key)] = where
            values[key] = self._node((*path, key), self._next())
        return values

    def _key(self, event: yaml.Event) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._fatal(_mark(event), "a key must be plain text")
        if event.value == "<<" and event.style is None:
            hint = "put what is shared under `defaults`"
            self._report(event, "the merge key `<<` is not supported", hint)
            return None
        value = self._scalar(event, what="key")
        if isinstance(value, str):
            return value
        if value is not UNREADABLE:
            self._report(event, f"the key `{event.value}` is not text", "put it in quotes")
        return None

    def _skip(self) -> None:
        """Read a value for its defects, but keep neither it nor its marks."""
        keep = dict(self.document.values), dict(self.document.keys)
        self._node((), self._next())
        self.document.values, self.document.keys = keep

    def _sequence(self, path: Path) -> list[object]:
        items: list[object] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node((*path, len(items)), event))
        return items

    def _scalar(self, event: yaml.ScalarEvent, what: str = "value") -> object:
        text = event.value
        if not all(char.isprintable() or char in "\n\t" for char in text):
            self._report(event, f"this {what} contains characters that cannot be shown")
            return UNREADABLE
        if event.style is not None:
            return text
        if is_null(text):
            self._report(event, f"a {what} is missing here", "write it, or delete the key")
            return UNREADABLE
        meaning = ambiguity(text)
        if meaning:
            hint = f'write "{text}" in quotes if text is meant, else spell the value out'
            self._report(event, f"`{text}` is {meaning}", hint)
            return UNREADABLE
        return resolve_plain(text)

    def _report(self, event: yaml.Event, message: str, hint: str = "") -> None:
        self.document.report(_mark(event), message, hint)

    def _fatal(self, mark: Mark, message: str, hint: str = "") -> NoReturn:
        self.document.report(mark, message, hint)
        raise _Fatal


def _mark(event: yaml.Event) -> Mark:
    start, end = event.start_mark, event.end_mark
    assert start is not None  # only hand-made events lack marks
    assert end is not None
    one_line = isinstance(event, yaml.ScalarEvent) and start.line == end.line
    length = end.column - start.column if one_line else 1
    return Mark(start.line + 1, start.column + 1, max(1, length))
