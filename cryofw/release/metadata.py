"""python-tuf's metadata classes, under the one name by which this room imports them."""

from __future__ import annotations

from typing import TypeAlias

from tuf.api.metadata import (  # type: ignore[attr-defined]  # its API, without __all__
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    T,
    TargetFile,
    Targets,
    Timestamp,
)

__all__ = [
    "AnyMetadata",
    "DelegatedRole",
    "Delegations",
    "Delegator",
    "Key",
    "MetaFile",
    "Metadata",
    "Role",
    "Root",
    "Signed",
    "Snapshot",
    "T",
    "TargetFile",
    "Targets",
    "Timestamp",
]

AnyMetadata: TypeAlias = (
    Metadata[Root] | Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]
)
Delegator: TypeAlias = Root | Targets
