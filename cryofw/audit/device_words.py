"""What a device had printed when something failed: found by the digest in the record."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from cryofw.rollout.story import printable

if TYPE_CHECKING:
    from cryofw.journal import Record, Storage

_DIGEST = re.compile(r"[0-9a-f]{64}")


def log_name(digest: str) -> str:
    """Where the log with this hex SHA-256 lies in the state directory."""
    return f"logs/{digest}.log"


def claimed_log(record: Record) -> tuple[str, int] | None:
    """Digest and number of lines that a record names; None if it names no log."""
    claim = record.fields.get("log")
    if not isinstance(claim, dict):
        return None
    digest, lines = claim.get("sha256"), claim.get("lines")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or type(lines) is not int:
        return "", 0
    return digest, lines


def log_problem(storage: Storage, record: Record) -> str:
    """Why the log beside a record is not the one that it names; empty if it is."""
    claim = claimed_log(record)
    if claim is None:
        return ""
    digest, lines = claim
    if not digest:
        return "it names a log of the device by no digest"
    name = log_name(digest)
    if not storage.exists(name):
        return f"the log of the device is missing: {name}"
    data = storage.read(name)
    if hashlib.sha256(data).hexdigest() != digest or data.count(b"\n") != lines:
        return f"{name} is not the log that was kept for it"
    return ""


def last_words(storage: Storage, record: Record, most: int) -> list[str]:
    """The last lines of the log beside a record, safe for a terminal; none if it is not whole."""
    claim = claimed_log(record)
    if claim is None or log_problem(storage, record):
        return []
    text = storage.read(log_name(claim[0])).decode(errors="replace")
    return [printable(line) for line in text.splitlines()[-most:]]
