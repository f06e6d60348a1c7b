"""The root of trust of a host: one root file, handed over by another way than the repository.

    releases/root.json      the file that a person told this host to trust
    releases/source         where its releases usually come from
    releases/metadata/      the latest verified metadata: what this host has seen, it never unsees

Nothing here is trusted on first use: without the file, no release is taken.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import Refused, VerificationFailed
from cryofw.release.errors import ReleaseInvalid, ReleaseRefused
from cryofw.release.record import record_from_custom
from cryofw.release.role import TOP_LEVEL

if TYPE_CHECKING:
    from cryofw.journal import Storage
    from cryofw.release.record import ReleaseRecord

_ROOT = "releases/root.json"
_SOURCE = "releases/source"
METADATA = "releases/metadata"


class RootAlreadyTrusted(Refused):
    """Another root is trusted already."""


@dataclass(frozen=True, slots=True)
class PinnedRoot:
    """The trusted root file and, if it was told, where releases usually come from."""

    data: bytes
    source: str = ""

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the file, to be compared by another way."""
        return hashlib.sha256(self.data).hexdigest()


def load_pinned_root(storage: Storage) -> PinnedRoot:
    """The root that this host trusts.

    Raises:
        Refused: none was pinned.
    """
    if not storage.exists(_ROOT):
        raise Refused(
            "no release repository is trusted on this host",
            why="the keys of a repository are never believed on first sight",
            hint="get the root file from the release manager by another way than the repository, "
            "compare its fingerprint, then `cryofw release trust root.json`",
        )
    source = storage.read(_SOURCE).decode("utf-8", "replace") if storage.exists(_SOURCE) else ""
    return PinnedRoot(storage.read(_ROOT), source)


def pin_root(storage: Storage, root: PinnedRoot, *, replace: bool = False) -> None:
    """Trust a root file from now on; the caller has checked that it is a sound root.

    Args:
        replace: another root may be trusted already; what was seen under it is forgotten.

    Raises:
        RootAlreadyTrusted: there is another one, and `replace` is not given.
    """
    if storage.exists(_ROOT) and (old := storage.read(_ROOT)) != root.data:
        if not replace:
            raise RootAlreadyTrusted(
                "another root is trusted on this host already",
                why=f"{hashlib.sha256(old).hexdigest()[:16]}, not {root.fingerprint[:16]}",
                hint="after a rotation of root keys nothing is to be done: clients follow it by "
                "themselves; for another repository --force replaces the root",
            )
        # Before the new root is in place: a crash in between leaves the old one, knowing less.
        for name in storage.list(f"{METADATA}/"):
            storage.remove(name)
    storage.write_atomic(_ROOT, root.data)
    if root.source:
        storage.write_atomic(_SOURCE, root.source.encode())


def seen_releases(storage: Storage) -> list[ReleaseRecord]:
    """The releases in the metadata that this host verified last; asks nobody, checks no expiry.

    So that what was revoked stays revoked for an image that is given as a file, too.

    Raises:
        VerificationFailed: the kept metadata is damaged.
    """
    records: list[ReleaseRecord] = []
    for name in storage.list(f"{METADATA}/"):
        role = name.removeprefix(f"{METADATA}/").removesuffix(".json")
        if "/" in role or role in TOP_LEVEL or not name.endswith(".json"):
            continue
        try:
            targets = json.loads(storage.read(name))["signed"]["targets"]
            found = [(path, target.get("custom")) for path, target in targets.items()]
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise VerificationFailed(
                f"the kept metadata of {role} is damaged",
                why=f"{name}: {type(error).__name__}",
                hint=f"remove {METADATA} from the state directory; it is fetched again",
            ) from error
        for path, custom in found:
            # What cannot be read was never offered for a rollout; it must not stop others.
            with suppress(ReleaseInvalid, ReleaseRefused):
                records += [record_from_custom(path, custom)] if path.endswith(".bin") else []
    return records


def require_not_revoked(storage: Storage, image_hash: str) -> None:
    """An image must not be one that this host has seen revoked, however it was given.

    Raises:
        ReleaseRefused: it was, with the reason.
        VerificationFailed: the kept metadata is damaged.
    """
    for record in seen_releases(storage):
        if record.hash == image_hash and record.revoked is not None:
            raise ReleaseRefused(
                f"the release {record.name} was revoked",
                why=f"by {record.revoked.by} at {record.revoked.at}: {record.revoked.why}",
                hint="deploy another release; a rollout of it ends with `cryofw abort` or "
                "`cryofw rollback`",
            )
