"""Who may sign: the first keys of a repository, and every change of them since."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.errors import Refused, UsageError
from cryofw.release.metadata import Root, Targets
from cryofw.release.release_signer import key_name
from cryofw.release.repository import DAYS_FIELD, new_delegation
from cryofw.release.role import (
    DAYS,
    LEAST_ROOT_KEYS,
    ONLINE,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    require_product,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.release.metadata import Key, Role
    from cryofw.release.repository import Repository


@dataclass(frozen=True, slots=True)
class FirstKeys:
    """Keys of a new repository.

    Attributes:
        root: of which `threshold` must sign each root; targets: delegates products.
        online: signs what is current; products: board to the key that releases for it.
    """

    root: Sequence[Key]
    threshold: int
    targets: Key
    online: Key
    products: Mapping[str, Key]


def stage_first(repository: Repository, keys: FirstKeys, days: Mapping[str, int]) -> None:
    """Stage a new repository.

    Raises:
        Refused: there is one already.
        UsageError: keys that cannot hold it, a product that cannot be one, or a day that is none.
    """
    if repository.exists:
        raise Refused(
            f"{repository.name} is a release repository already",
            hint="`cryofw release rotate` changes its keys",
        )
    for role, count in days.items():
        if role not in DAYS or count < 1:
            raise UsageError(
                f"{role}={count} is no time that metadata holds", why=f"roles: {', '.join(DAYS)}"
            )
    root = Root(version=1, expires=repository.now, consistent_snapshot=True)
    root.unrecognized_fields[DAYS_FIELD] = dict(DAYS) | dict(days)
    for key in keys.root:
        root.add_key(key, ROOT)
    root.roles[ROOT].threshold = keys.threshold
    for key, role in ((keys.targets, TARGETS), (keys.online, SNAPSHOT), (keys.online, TIMESTAMP)):
        root.add_key(key, role)
    _require_held(root.roles[ROOT], ROOT)
    _require_apart(root)
    repository.stage_roots([root])
    root.expires = repository.expiry(ROOT)
    repository.stage_roots([root])
    targets = Targets(version=1, expires=repository.expiry(TARGETS))
    for product, key in keys.products.items():
        new_delegation(targets, require_product(product))
        targets.add_key(key, product)
        repository.stage(product, Targets(version=1, expires=repository.expiry(product)))
    repository.stage(TARGETS, targets)


def rotate(
    repository: Repository,
    role: str,
    add: Sequence[Key],
    remove: Sequence[str],
    threshold: int | None,
    *,
    new_product: bool = False,
) -> list[str]:
    """Stage other keys for a role, and what they have to sign anew.

    Args:
        role: root, targets, online, or a product.
        add: keys that get the role.
        remove: names or ids of keys that lose it.
        threshold: how many of them must sign from now on; None leaves it.
        new_product: `role` is a product that the repository does not have yet.

    Returns:
        the roles that wait for signatures.

    Raises:
        UsageError: nothing changes, no such role or key, or too few keys are left.
    """
    if not add and not remove and threshold is None:
        raise UsageError("nothing would change", hint="give --add, --remove or --threshold")
    repository.require_published()
    if role in (ROOT, TARGETS, ONLINE):
        return _rotate_root(repository, role, add, remove, threshold)
    targets = repository.draft_targets(TARGETS)
    if new_product:
        if role in repository.products:
            raise UsageError(f"{role} is a product already", hint="leave --new-product out")
        new_delegation(targets, require_product(role))
        product = Targets(version=1, expires=repository.expiry(role))
    else:
        product = repository.draft_targets(role)
    _change(targets, role, add, remove, threshold)
    repository.stage(TARGETS, targets)
    repository.stage(role, product)
    return [TARGETS, role]


def _rotate_root(
    repository: Repository,
    role: str,
    add: Sequence[Key],
    remove: Sequence[str],
    threshold: int | None,
) -> list[str]:
    current = repository.published.root
    assert current is not None
    desired = deepcopy(repository.next_root)
    for name in (SNAPSHOT, TIMESTAMP) if role == ONLINE else (role,):
        _change(desired, name, add, remove, threshold)
    _require_apart(desired)
    desired.expires = repository.expiry(ROOT)
    repository.stage_roots(bridged(current.signed, desired))
    if role == TARGETS:
        repository.stage(TARGETS, repository.draft_targets(TARGETS))
        return [ROOT, TARGETS]
    return [ROOT]


def bridged(current: Root, desired: Root) -> list[Root]:
    """The roots that lead from one to the other without a moment in which nothing verifies.

    Where a key that has signed what readers see now loses its role, one root in between takes
    both the old and the new keys: what is published is signed anew while it holds.
    """
    roles = (TARGETS, SNAPSHOT, TIMESTAMP)
    lost = [
        role
        for role in roles
        if set(current.roles[role].keyids) - set(desired.roles[role].keyids)
        or desired.roles[role].threshold > current.roles[role].threshold
    ]
    if not lost:
        desired.version = current.version + 1
        return [desired]
    bridge = deepcopy(current)
    bridge.version, bridge.expires = current.version + 1, desired.expires
    for role in lost:
        for keyid in desired.roles[role].keyids:
            bridge.add_key(desired.keys[keyid], role)
        least = min(current.roles[role].threshold, desired.roles[role].threshold)
        bridge.roles[role].threshold = least
    desired.version = current.version + 2
    return [bridge, desired]


def renew(repository: Repository, roles: Sequence[str]) -> None:
    """Stage roles unchanged, with a later expiry; snapshot and timestamp are renewed anyway.

    Raises:
        UsageError: there is no such role.
    """
    repository.require_published()
    for role in roles:
        if role == ROOT:
            root = deepcopy(repository.next_root)
            root.expires = repository.expiry(ROOT)
            assert repository.published.root is not None
            repository.stage_roots(bridged(repository.published.root.signed, root))
        elif role not in (SNAPSHOT, TIMESTAMP, ONLINE):
            repository.stage(role, repository.draft_targets(role))


def _change(
    holder: Root | Targets,
    role_name: str,
    add: Sequence[Key],
    remove: Sequence[str],
    threshold: int | None,
) -> None:
    role = holder.get_delegated_role(role_name)
    known = {keyid: holder.get_key(keyid) for keyid in role.keyids}
    for key in add:
        if key.keyid in known:
            raise UsageError(f"{key_name(key)} is a key of {role_name} already")
    for word in remove:
        found = [i for i, key in known.items() if word in (key_name(key), i) or i.startswith(word)]
        if len(found) != 1:
            names = ", ".join(f"{key_name(key)} ({i[:12]})" for i, key in known.items())
            what = "no key" if not found else "more than one key"
            raise UsageError(f"{role_name} has {what} {word!r}", why=f"its keys are {names}")
        holder.revoke_key(found[0], role_name)
    for key in add:
        holder.add_key(key, role_name)
    if threshold is not None:
        role.threshold = threshold
    _require_held(role, role_name)


def _require_held(role: Role, name: str) -> None:
    least = LEAST_ROOT_KEYS if name == ROOT else 1
    if role.threshold < least:
        raise UsageError(
            f"{name} must be signed by at least {least} keys, not by {role.threshold}",
            why="no single person may name the keys that everybody trusts" if name == ROOT else "",
        )
    if len(role.keyids) < role.threshold:
        raise UsageError(
            f"{name} would have {len(role.keyids)} keys, and {role.threshold} must sign",
            hint="add a key, or lower the threshold",
        )


def _require_apart(root: Root) -> None:
    """A key that is online must not be one of those that name all others."""
    online = {*root.roles[SNAPSHOT].keyids, *root.roles[TIMESTAMP].keyids}
    for role in (ROOT, TARGETS):
        both = online & set(root.roles[role].keyids)
        if both:
            raise UsageError(
                f"the key {key_name(root.keys[both.pop()])} cannot serve both {role} and {ONLINE}",
                why=f"the online key lies on a server; {role} is what makes up for its loss",
                hint="`cryofw keys generate NAME --purpose release` makes another",
            )
