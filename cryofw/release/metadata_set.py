"""Metadata that holds together: what a client sees at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tuf.api.exceptions import RepositoryError

from cryofw.release.metadata import MetaFile
from cryofw.release.role import ROOT, SNAPSHOT, TARGETS, TIMESTAMP

if TYPE_CHECKING:
    from cryofw.release.metadata import (
        AnyMetadata,
        Metadata,
        Root,
        Snapshot,
        Targets,
        Timestamp,
    )


@dataclass
class MetadataSet:
    """Metadata that holds together: what a client sees at one moment.

    `timestamp` and `snapshot` are None only where nothing was published yet.
    """

    root: Metadata[Root] | None = None
    timestamp: Metadata[Timestamp] | None = None
    snapshot: Metadata[Snapshot] | None = None
    targets: Metadata[Targets] | None = None
    products: dict[str, Metadata[Targets]] = field(default_factory=dict)

    @property
    def all_targets(self) -> dict[str, Metadata[Targets]]:
        """The metadata of targets and of each product."""
        top = {} if self.targets is None else {TARGETS: self.targets}
        return top | self.products

    @property
    def by_role(self) -> dict[str, AnyMetadata]:
        """Every role that is there."""
        some = {ROOT: self.root, SNAPSHOT: self.snapshot, TIMESTAMP: self.timestamp}
        found: dict[str, AnyMetadata] = {r: m for r, m in some.items() if m is not None}
        return {**found, **self.all_targets}


def why_inconsistent(shown: MetadataSet) -> str:
    """Why a client that trusts its root would refuse this set, expiry aside; empty if it holds."""
    root, timestamp, snapshot, targets = (
        shown.root, shown.timestamp, shown.snapshot, shown.targets,
    )  # fmt: skip
    if root is None or timestamp is None or snapshot is None or targets is None:
        return "a role is missing"
    try:
        for role, metadata in ((TIMESTAMP, timestamp), (SNAPSHOT, snapshot), (TARGETS, targets)):
            root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        timestamp.signed.snapshot_meta.verify_length_and_hashes(snapshot.to_bytes())
        for role, product in shown.products.items():
            targets.signed.verify_delegate(role, product.signed_bytes, product.signatures)
        for role, each in shown.all_targets.items():
            meta = snapshot.signed.meta[f"{role}.json"]
            meta.verify_length_and_hashes(each.to_bytes())
            if meta.version != each.signed.version:
                return f"snapshot names {role} {meta.version}, not {each.signed.version}"
    except (RepositoryError, ValueError, KeyError) as error:
        return str(error)
    return ""


def meta_file(version: int, data: bytes) -> MetaFile:
    """What snapshot and timestamp say about a file: version, length and hash."""
    return MetaFile.from_data(version, data, ["sha256"])
