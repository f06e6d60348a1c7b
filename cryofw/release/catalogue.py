"""What the publisher says about releases: a new one, an old one again, one that is revoked."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryofw.errors import BadInput, Refused, UsageError
from cryofw.release.coefficients import parse_coefficients
from cryofw.release.errors import ReleaseRefused
from cryofw.release.record import (
    Attachment,
    ReleaseRecord,
    Revocation,
    is_of_newer_cryofw,
    record_from_custom,
)
from cryofw.release.role import TARGETS
from cryofw.release.version_range import VersionRange

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryofw.release.firmware import Firmware
    from cryofw.release.metadata import TargetFile, Targets
    from cryofw.release.repository import Repository

_DOCUMENT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\.[a-z0-9]{1,8}")
_SUFFIXES = {"sbom": "json", "provenance": "json", "coefficients": "yaml"}
_DOCUMENTS = {"sbom": ("bomFormat", "spdxVersion"), "provenance": ("predicateType", "payloadType")}
"""A document beside a release, and the names of which a JSON document of its kind has one."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a release says besides its image.

    Attributes:
        by: who releases it; why: what they say about it.
        host: range of versions of cryofw; from_versions: of the firmware that it may follow.
        commit: of the source.
        checkpoint: signed note of a journal.
        documents: `sbom` (CycloneDX or SPDX), `provenance` (in-toto, or its DSSE envelope) and
            `coefficients` (cryofw.coefficients/v1).
    """

    by: str
    why: str = ""
    host: str = ""
    commit: str = ""
    checkpoint: str = ""
    documents: Mapping[str, bytes] | None = None
    from_versions: str = ""


def records_of(targets: Targets) -> dict[str, ReleaseRecord]:
    """Version to record; releases of a newer cryofw are left out."""
    return {
        record.version: record
        for path, target in targets.targets.items()
        if path.endswith(".bin") and not is_of_newer_cryofw(target.custom)
        for record in [record_from_custom(path, target.custom)]
    }


def latest_of(records: Mapping[str, ReleaseRecord]) -> ReleaseRecord | None:
    """The release with the highest number that is not revoked."""
    usable = [record for record in records.values() if record.revoked is None]
    return max(usable, key=lambda record: record.number, default=None)


def add_release(
    repository: Repository, firmware: Firmware, data: bytes, said: Announcement
) -> ReleaseRecord:
    """Stage a verified image as the next release of its board.

    Raises:
        Refused: its version was released before, with another image or with the same.
        BadInput: it does not name its board, or what was said about it makes no record.
        UsageError: the board is no product of the repository.
    """
    if not firmware.board:
        raise BadInput(
            "the image does not say which board it is for",
            hint="sign it with --board; the key of that board then releases it",
        )
    VersionRange.parse(said.host)
    VersionRange.parse(said.from_versions)
    targets = repository.draft_targets(firmware.board)
    records = records_of(targets)
    _require_new_version(records.get(firmware.version), firmware)
    record = ReleaseRecord(
        product=firmware.board,
        version=firmware.version,
        number=_next_number(records),
        hash=firmware.hash,
        security_counter=firmware.security_counter,
        host=said.host,
        commit=said.commit,
        released=_moment(repository.now),
        by=said.by,
        why=said.why,
        checkpoint=said.checkpoint,
        from_versions=said.from_versions,
    )
    attachments: dict[str, Attachment] = {}
    for kind, document in (said.documents or {}).items():
        _check_document(kind, document)
        path = f"{record.product}/{record.version}.{kind}.{_SUFFIXES[kind]}"
        targets.targets[path] = repository.keep_target(path, document, None)
        attached = Attachment(path, hashlib.sha256(document).hexdigest())
        attachments[kind] = attached
    record = replace(
        record,
        sbom=attachments.get("sbom"),
        provenance=attachments.get("provenance"),
        coefficients=attachments.get("coefficients"),
    )
    custom = record.to_custom()
    record_from_custom(record.path, custom)  # what clients will insist on
    targets.targets[record.path] = repository.keep_target(record.path, data, custom)
    repository.stage(record.product, targets)
    return record


def _require_new_version(known: ReleaseRecord | None, firmware: Firmware) -> None:
    if known is None:
        return
    if known.hash != firmware.hash:
        raise Refused(
            f"{known.name} was released with another image",
            why=f"hash {known.hash[:16]}, this one has {firmware.hash[:16]}",
            hint="one version is one image for ever: sign this one under a new version",
        )
    raise Refused(
        f"{known.name} was released already, as number {known.number}",
        hint=f"`cryofw release add --again {known.name} --why TEXT` releases it again: a rollback",
    )


def release_again(
    repository: Repository, product: str, version: str, said: Announcement
) -> ReleaseRecord:
    """Stage a release that was there before as the latest one: a rollback is a release.

    Raises:
        ReleaseRefused: there is none of that version, or it is revoked.
        Refused: it is the latest already.
    """
    targets = repository.draft_targets(product)
    records = records_of(targets)
    record = _known(records, product, version)
    if record.revoked is not None:
        raise ReleaseRefused(
            f"the release {record.name} was revoked",
            why=f"by {record.revoked.by}: {record.revoked.why}",
            hint="release another one",
        )
    latest = latest_of(records)
    if latest == record:
        raise Refused(f"{record.name} is the latest release already")
    # The release that it takes back may be revoked by now: the number tells which one that was.
    before = max(records.values(), key=lambda each: each.number)
    again = replace(
        record,
        number=_next_number(records),
        released=_moment(repository.now),
        by=said.by,
        why=said.why,
        rolls_back=before.version,
        checkpoint=said.checkpoint,
        from_versions=said.from_versions,  # what it may come from is said anew: it goes back
    )
    _set_custom(targets.targets[record.path], again)
    repository.stage(product, targets)
    return again


def put_document(repository: Repository, name: str, data: bytes) -> None:
    """Stage a file of the whole repository, such as a policy; the targets key signs it.

    Clients read it with `ReleaseClient.read_document(name)`; like everything else it cannot be
    rolled back.

    Raises:
        UsageError: a name that could be a board's, or lead out of a directory.
    """
    if not _DOCUMENT_NAME.fullmatch(name) or name.endswith(".bin"):
        raise UsageError(
            f"{name!r} cannot be the name of a document",
            why="small letters, digits, dashes and one dot, as in policy.yaml; images are added",
        )
    targets = repository.draft_targets(TARGETS)
    targets.targets[name] = repository.keep_target(name, data, None)
    repository.stage(TARGETS, targets)


def revoke_release(
    repository: Repository, product: str, version: str, by: str, why: str
) -> ReleaseRecord:
    """Stage that a release must not be rolled out any more; its record stays, with the reason.

    Raises:
        ReleaseRefused: there is none of that version.
        Refused: it is revoked already.
    """
    targets = repository.draft_targets(product)
    record = _known(records_of(targets), product, version)
    if record.revoked is not None:
        raise Refused(
            f"{record.name} is revoked already", why=f"by {record.revoked.by}: {record.revoked.why}"
        )
    revoked = replace(record, revoked=Revocation(by, _moment(repository.now), why))
    _set_custom(targets.targets[record.path], revoked)
    repository.stage(product, targets)
    return revoked


def _known(records: Mapping[str, ReleaseRecord], product: str, version: str) -> ReleaseRecord:
    if version not in records:
        raise ReleaseRefused(
            f"there is no release {product}/{version}",
            why=f"there are {' '.join(records) or 'none'}",
            hint="`cryofw release list` shows them",
        )
    return records[version]


def _set_custom(target: TargetFile, record: ReleaseRecord) -> None:
    target.unrecognized_fields["custom"] = record.to_custom()


def _next_number(records: Mapping[str, ReleaseRecord]) -> int:
    return max((record.number for record in records.values()), default=0) + 1


def _moment(now: datetime) -> str:
    return f"{now:%Y-%m-%dT%H:%M:%SZ}"


def _check_document(kind: str, data: bytes) -> None:
    if kind == "coefficients":
        parse_coefficients(data, "the file of coefficients")
        return
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the {kind} is not JSON", why=str(error)) from error
    marks = _DOCUMENTS[kind]
    if not isinstance(document, dict) or not any(mark in document for mark in marks):
        raise BadInput(
            f"the {kind} is of no kind that is known",
            why=f"it has none of {', '.join(marks)}",
            hint="an SBOM is CycloneDX or SPDX, a provenance in-toto or its DSSE envelope",
        )
