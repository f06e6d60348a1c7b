"""The publisher's side: what is published, and what is staged to be published next.

    metadata/N.root.json, N.targets.json, N.PRODUCT.json, N.snapshot.json, timestamp.json
    targets/PRODUCT/SHA256.VERSION.bin
    staged/ROLE.json, staged/N.root.json     next versions, with the signatures they have so far

A reader begins with timestamp.json, which names everything else by version and hash. So whatever
is written before it is replaced does not exist for anybody, and then all of it does.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING

from cryofw.errors import UsageError
from cryofw.release.errors import RepositoryUnusable
from cryofw.release.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Snapshot,
    T,
    TargetFile,
    Targets,
    Timestamp,
)
from cryofw.release.metadata_set import MetadataSet
from cryofw.release.role import DAYS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, in_order
from cryofw.release.translation import translated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from cryofw.journal import Storage

DAYS_FIELD = "x-cryofw-days"
_TIMESTAMP_NAME = "metadata/timestamp.json"
_STAGED = "staged/"
_LOCK = "publisher"


def metadata_name(role: str, version: int) -> str:
    """Where a version of a role's metadata lies."""
    return _TIMESTAMP_NAME if role == TIMESTAMP else f"metadata/{version}.{role}.json"


class Repository:
    """A release repository on a storage, for the one who publishes.

    Args:
        storage: where it lies.
        now: what new metadata expires after.
        name: what people call the place, for messages.
    """

    def __init__(self, storage: Storage, now: datetime, name: str = "the repository") -> None:
        self.storage = storage
        self.now = now
        self.name = name
        self.published = MetadataSet()
        self.staged_roots: list[Metadata[Root]] = []
        self.staged: dict[str, Metadata[Targets]] = {}
        with translated(name):
            self._load_published()
            self._load_staged()

    # --- reading ----------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether anything was ever published here."""
        return self.published.timestamp is not None

    def require_published(self) -> MetadataSet:
        """What is published.

        Raises:
            RepositoryUnusable: nothing is.
        """
        if not self.exists:
            waits = "it waits for signatures" if self.staged_roots else "nothing was published"
            raise RepositoryUnusable(
                f"{self.name} is no release repository yet",
                why=waits,
                hint="`cryofw release publish` completes it"
                if self.staged_roots
                else "`cryofw release init` makes one",
            )
        return self.published

    def _load_published(self) -> None:
        version = 0
        while self.storage.exists(metadata_name(ROOT, version + 1)):
            version += 1
        if version:
            self.published.root = self._read(metadata_name(ROOT, version), Root)
        if not self.storage.exists(_TIMESTAMP_NAME):
            return
        timestamp = self._read(_TIMESTAMP_NAME, Timestamp)
        snapshot_version = timestamp.signed.snapshot_meta.version
        snapshot = self._read(metadata_name(SNAPSHOT, snapshot_version), Snapshot)
        self.published.timestamp, self.published.snapshot = timestamp, snapshot
        for file, meta in snapshot.signed.meta.items():
            role = file.removesuffix(".json")
            targets = self._read(metadata_name(role, meta.version), Targets)
            if role == TARGETS:
                self.published.targets = targets
            else:
                self.published.products[role] = targets

    def _load_staged(self) -> None:
        """What was staged and has been published since is not staged any more."""
        for name in self.storage.list(_STAGED):
            role = name.removeprefix(_STAGED).removesuffix(".json")
            if role.endswith(".root"):
                self.staged_roots.append(self._read(name, Root))
            else:
                self.staged[role] = self._read(name, Targets)
        self.staged_roots.sort(key=lambda root: root.signed.version)
        if self.published.root is not None:
            done = self.published.root.signed.version
            self.staged_roots = [r for r in self.staged_roots if r.signed.version > done]
        for role, published in self.published.all_targets.items():
            staged = self.staged.get(role)
            if staged is None or staged.signed.version > published.signed.version:
                continue
            if staged.signed != published.signed:
                raise RepositoryUnusable(
                    f"what is staged for {role} was overtaken",
                    why=f"version {published.signed.version} was published by somebody else",
                    hint=f"remove staged/{role}.json from {self.name}, and stage it again",
                )
            del self.staged[role]

    def _read(self, name: str, kind: type[T]) -> Metadata[T]:
        if not self.storage.exists(name):
            raise RepositoryUnusable(
                f"{self.name} lacks {name}", hint="restore the repository from its backup"
            )
        metadata = Metadata[T].from_bytes(self.storage.read(name))
        if not isinstance(metadata.signed, kind):
            raise RepositoryUnusable(f"{name} of {self.name} is metadata of another role")
        return metadata

    @property
    def next_root(self) -> Root:
        """The root as it will be once everything staged is published.

        Raises:
            RepositoryUnusable: there is none.
        """
        if self.staged_roots:
            return self.staged_roots[-1].signed
        if self.published.root is None:
            self.require_published()
        assert self.published.root is not None
        return self.published.root.signed

    def next_targets(self, role: str) -> Targets:
        """The metadata of `targets` or of a product once everything staged is published.

        Raises:
            UsageError: there is no such product.
        """
        metadata = self.staged.get(role) or self.published.all_targets.get(role)
        if metadata is None:
            known = [
                r for r in in_order({**self.published.all_targets, **self.staged}) if r != TARGETS
            ]
            raise UsageError(
                f"{self.name} has no product {role!r}",
                why=f"it has {', '.join(known) or 'none'}",
                hint=f"`cryofw release rotate {role} --new-product --add KEY` makes one",
            )
        return metadata.signed

    @property
    def products(self) -> list[str]:
        """The products, staged ones too."""
        delegations = self.next_targets(TARGETS).delegations
        return sorted(delegations.roles or ()) if delegations else []

    # --- staging ----------------------------------------------------------------------------

    def days(self, role: str) -> int:
        """Days that new metadata of a role holds."""
        own = self.next_root.unrecognized_fields.get(DAYS_FIELD, {})
        key = role if role in DAYS else TARGETS
        return int(own.get(key, DAYS[key]))

    def expiry(self, role: str) -> datetime:
        """When metadata of a role that is made now expires."""
        return self.now.replace(microsecond=0) + timedelta(days=self.days(role))

    def draft_targets(self, role: str) -> Targets:
        """The next version of `targets` or a product, to be changed and then `stage`d."""
        draft = deepcopy(self.next_targets(role))
        published = self.published.all_targets.get(role)
        draft.version = published.signed.version + 1 if published else 1
        draft.expires = self.expiry(role)
        return draft

    def stage(self, role: str, draft: Targets) -> None:
        """Keep the next version of a role; signatures on an earlier draft are gone."""
        self.staged[role] = Metadata(draft)
        self.save_staged(role)

    def stage_roots(self, roots: list[Root]) -> None:
        """Keep the next versions of the root, in place of those staged before."""
        for old in self.staged_roots:
            self.storage.remove(_staged_root(old.signed.version))
        self.staged_roots = [Metadata(root) for root in roots]
        for root in self.staged_roots:
            self.save_staged_root(root)

    def save_staged(self, role: str) -> None:
        """Write a staged role with the signatures that it has by now."""
        self.storage.write_atomic(f"{_STAGED}{role}.json", self.staged[role].to_bytes())

    def save_staged_root(self, root: Metadata[Root]) -> None:
        """Write a staged root with the signatures that it has by now."""
        self.storage.write_atomic(_staged_root(root.signed.version), root.to_bytes())

    def clear_staged(self) -> None:
        """Forget what is staged: it is published."""
        for name in self.storage.list(_STAGED):
            self.storage.remove(name)
        self.staged_roots, self.staged = [], {}

    def keep_target(
        self, path: str, data: bytes, custom: Mapping[str, object] | None
    ) -> TargetFile:
        """Write a target's file under its hash, where nobody sees it before it is published."""
        target = TargetFile.from_data(path, data, ["sha256"])
        if custom is not None:
            target.unrecognized_fields["custom"] = dict(custom)
        folder, _, base = path.rpartition("/")
        digest = hashlib.sha256(data).hexdigest()
        name = f"targets/{folder}/{digest}.{base}" if folder else f"targets/{digest}.{base}"
        if not self.storage.exists(name) or self.storage.read(name) != data:
            self.storage.write_atomic(name, data)
        return target

    def lock(self) -> AbstractContextManager[None]:
        """One publisher at a time; raises StorageLocked."""
        return self.storage.lock(_LOCK)


def new_delegation(targets: Targets, product: str) -> None:
    """Delegate the paths of a product to a role of its own; it has no keys yet."""
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None
    targets.delegations.roles[product] = DelegatedRole(
        product, [], 1, terminating=True, paths=[f"{product}/*"]
    )


def _staged_root(version: int) -> str:
    return f"{_STAGED}{version}.root.json"
