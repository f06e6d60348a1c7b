"""Signing and publishing: from one consistent repository to the next, with nothing in between.

Every state that a reader can meet while files are written is checked beforehand: what was
published must verify under each root that comes before the switch of timestamp.json, what is new
under each that comes with or after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryofw.errors import Refused
from cryofw.release.errors import RepositoryUnusable, SignaturesMissing
from cryofw.release.metadata import Metadata, Root, Snapshot, Timestamp
from cryofw.release.metadata_set import MetadataSet, meta_file, why_inconsistent
from cryofw.release.release_signer import key_name
from cryofw.release.repository import metadata_name
from cryofw.release.role import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, in_order
from cryofw.release.root import require_sound_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryofw.release.metadata import AnyMetadata, Delegator, Key
    from cryofw.release.release_signer import SignerPool
    from cryofw.release.repository import Repository


@dataclass(frozen=True, slots=True)
class Shortage:
    """A role that too few keys have signed.

    Attributes:
        needs: its threshold; of: names of its keys; signed: those that have.
    """

    role: str
    version: int
    needs: int
    of: tuple[str, ...]
    signed: tuple[str, ...]

    def __str__(self) -> str:
        signed = f"signed by {', '.join(self.signed)}" if self.signed else "signed by nobody"
        return f"{self.role} {self.version} needs {self.needs} of {', '.join(self.of)}; {signed}"


def sign_staged(repository: Repository, pool: SignerPool) -> list[Shortage]:
    """Put the signatures of the keys at hand on what is staged, keep them, say what is missing.

    For holders of keys who do not sit at the same computer.
    """
    shortages = []
    for root in repository.staged_roots:
        found = _sign(ROOT, root, _root_delegators(repository, root), pool)
        repository.save_staged_root(root)
        shortages += found
    for role in in_order(repository.staged):
        delegator: Delegator = repository.next_root
        if role != TARGETS:
            delegator = repository.next_targets(TARGETS)
        shortages += _sign(role, repository.staged[role], [delegator], pool)
        repository.save_staged(role)
    return shortages


def publish(repository: Repository, pool: SignerPool) -> MetadataSet:
    """Sign what is staged and make it, and a fresh snapshot and timestamp, what readers see.

    Returns:
        what is published now.

    Raises:
        SignaturesMissing: a threshold is not met; what was signed is kept for the next attempt.
        ReleaseInvalid: a staged root that no client would accept.
        RepositoryUnusable: it could not be switched without a moment in which clients refuse it.
    """
    shortages = sign_staged(repository, pool)
    if shortages:
        raise _missing(shortages, pool)
    for root in repository.staged_roots:
        require_sound_root(root.signed, f"the staged root {root.signed.version}")
    early = _still_good(repository)
    before = repository.staged_roots[early - 1] if early else repository.published.root
    late = repository.staged_roots[early:]
    in_force = [root for root in (before, *late) if root is not None]
    new = _next_set(repository, in_force, pool)
    _require_no_gap(new, in_force)
    for root in repository.staged_roots[:early]:
        _write(repository, ROOT, root)
    for role in repository.staged:
        _write(repository, role, new.all_targets[role])
    assert new.snapshot is not None
    assert new.timestamp is not None
    _write(repository, SNAPSHOT, new.snapshot)
    _write(repository, TIMESTAMP, new.timestamp)  # the switch
    for root in late:
        _write(repository, ROOT, root)
    repository.clear_staged()
    repository.published = new
    return new


def _next_set(
    repository: Repository, in_force: Sequence[Metadata[Root]], pool: SignerPool
) -> MetadataSet:
    """What will be published; signed for every root under which it will be read."""
    old = repository.published
    everything = {**old.all_targets, **repository.staged}
    roots = [root.signed for root in in_force]
    meta = {f"{r}.json": meta_file(m.signed.version, m.to_bytes()) for r, m in everything.items()}
    version = old.snapshot.signed.version + 1 if old.snapshot else 1
    expires = repository.expiry(SNAPSHOT)
    snapshot = Metadata(Snapshot(version=version, expires=expires, meta=meta))
    shortages = _sign(SNAPSHOT, snapshot, roots, pool)
    version = old.timestamp.signed.version + 1 if old.timestamp else 1
    expires = repository.expiry(TIMESTAMP)
    named = meta_file(snapshot.signed.version, snapshot.to_bytes())
    timestamp = Metadata(Timestamp(version=version, expires=expires, snapshot_meta=named))
    shortages += _sign(TIMESTAMP, timestamp, roots, pool)
    if shortages:
        raise _missing(shortages, pool)
    targets = everything.pop(TARGETS)
    return MetadataSet(in_force[-1], timestamp, snapshot, targets, everything)


def _require_no_gap(new: MetadataSet, in_force: Sequence[Metadata[Root]]) -> None:
    for root in in_force:
        why = why_inconsistent(replace(new, root=root))
        if why:
            raise RepositoryUnusable(
                "this cannot be published without a moment in which clients refuse it",
                why=f"under root {root.signed.version}: {why}",
                hint="stage the change again with `cryofw release rotate`",
            )


def _still_good(repository: Repository) -> int:
    """How many of the staged roots readers may have while they still see what is published now."""
    old = repository.published
    if old.timestamp is None:
        return len(repository.staged_roots)
    count = 0
    for root in repository.staged_roots:
        if why_inconsistent(replace(old, root=root)):
            break
        count += 1
    return count


def _root_delegators(repository: Repository, root: Metadata[Root]) -> list[Delegator]:
    """A root is signed by the keys of the one before it and by its own."""
    before = [r for r in repository.staged_roots if r.signed.version < root.signed.version]
    known = [repository.published.root] if repository.published.root else []
    chain = [*known, *before]
    return [*(each.signed for each in chain[-1:]), root.signed]


def _sign(
    role: str, metadata: AnyMetadata, delegators: Sequence[Delegator], pool: SignerPool
) -> list[Shortage]:
    """Sign with keys at hand until each delegator's threshold is met."""
    shortages = []
    for delegator in delegators:
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        for keyid in sorted(result.unsigned):
            if result.verified:
                break
            signer = pool.open(keyid)
            if signer is not None:
                metadata.sign(signer, append=True)
                result = delegator.get_verification_result(
                    role, metadata.signed_bytes, metadata.signatures
                )
        if not result.verified:
            keys = {**result.signed, **result.unsigned}
            shortages.append(
                Shortage(
                    role,
                    metadata.signed.version,
                    result.threshold,
                    _names(keys.values()),
                    _names(result.signed.values()),
                )
            )
    return shortages


def _names(keys: Iterable[Key]) -> tuple[str, ...]:
    return tuple(sorted(key_name(key) for key in keys))


def _missing(shortages: Sequence[Shortage], pool: SignerPool) -> SignaturesMissing:
    lines = list(dict.fromkeys(str(each) for each in shortages))
    lines += [f"{name}: {why}" for name, why in pool.missed.items()]
    return SignaturesMissing(
        "signatures are missing; nothing was published",
        why="\n".join(lines),
        hint="what was signed is kept under staged/: the other holders run `cryofw release sign` "
        "on this directory, then `cryofw release publish`",
    )


def _write(repository: Repository, role: str, metadata: AnyMetadata) -> None:
    name = metadata_name(role, metadata.signed.version)
    repository.storage.write_atomic(name, metadata.to_bytes())


def require_staged(repository: Repository) -> None:
    """There is something to publish.

    Raises:
        Refused: nothing is staged.
    """
    if not repository.staged and not repository.staged_roots:
        raise Refused(
            "nothing is staged",
            hint="`cryofw release add IMAGE` stages a release; "
            "`cryofw release refresh` renews what expires",
        )
