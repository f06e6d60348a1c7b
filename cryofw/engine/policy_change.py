"""Puts a policy in force, or out of it, and has the journal remember which one that was.

A policy lies in the state directory as a file, so whoever can write there can put an older one in
its place, or none. The journal says which one was put in force last; what begins or goes on under
another one is refused.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cryofw.engine.lab_acts import say_of_lab
from cryofw.engine.policy_store import RELEASES, PolicyStore, require_newer
from cryofw.errors import Refused
from cryofw.rollout.lab_events import PolicyPinned, PolicyUnpinned
from cryofw.trust import PolicyError

if TYPE_CHECKING:
    from cryofw.engine.home import Home
    from cryofw.engine.policy_store import PinnedPolicy


def put_in_force(
    home: Home, data: bytes, source: str, who: str, *, replace: bool = False
) -> PinnedPolicy:
    """Put a policy in force; the journal is told first, so that a crash leaves nobody free.

    Args:
        data: the file; source: where it comes from, `RELEASES` for the repository's.
        who: says so.
        replace: it may be older than what was in force, or take the place of the repository's.

    Raises:
        PolicyError: it cannot be used.
        Refused: it is older, or the repository's is in force.
        StorageLocked: another process has the journal, and runs no rollout.
    """
    store = PolicyStore(home.storage)
    made = store.read(data, source)
    before, known = _readable(store), home.history().policy
    if not replace:
        if before is not None and before.source == RELEASES != source:
            raise Refused(
                "the policy in force comes with the releases",
                why=f"version {before.policy.version}; one of a file would not follow them",
                hint="release the change (`cryofw release document policy.yaml`); --force takes "
                "the file all the same, and the journal says who did that",
            )
        require_newer(made.policy, before.policy if before else None)
        if known is not None and made.policy.digest != known.digest:
            require_newer(made.policy, known)
    told = known is not None and known.digest == made.policy.digest
    if not told:
        event = PolicyPinned(made.policy.digest, made.policy.version, source, who)
        say_of_lab(home, event, who, secrets.token_hex(4))
    store.pin(data, source, replace=True)
    return made


def _readable(store: PolicyStore) -> PinnedPolicy | None:
    """What is in force; None also for a damaged file, which the right one is to replace."""
    try:
        return store.pinned()
    except PolicyError:
        return None


def take_out_of_force(home: Home, who: str, why: str) -> None:
    """From now on acts are recorded and not signed, and the journal says who wanted that.

    Raises:
        Refused: no policy is in force.
        StorageLocked: another process has the journal, and runs no rollout.
    """
    if _readable(PolicyStore(home.storage)) is None and home.history().policy is None:
        raise Refused("no policy is in force here")
    say_of_lab(home, PolicyUnpinned(who, why), who, secrets.token_hex(4))
    PolicyStore(home.storage).unpin()


def require_remembered(home: Home) -> PinnedPolicy | None:
    """The policy in force, if it is the one that the journal remembers, or a newer one.

    Raises:
        Refused: it is gone, or an older one lies in its place.
    """
    pinned, known = PolicyStore(home.storage).pinned(), home.history().policy
    if known is None:
        return pinned
    was = f"version {known.version}, {known.digest[:16]}" if known.version else known.digest[:16]
    if pinned is None:
        raise Refused(
            "the policy that was in force here is gone",
            why=f"the journal remembers {was}",
            hint="`cryofw policy pin FILE` puts it back; `cryofw policy unpin --why TEXT` says "
            "that there shall be none",
        )
    if pinned.policy.digest != known.digest and pinned.policy.version <= known.version:
        raise Refused(
            "the policy here is not the one that was put in force",
            why=f"it is version {pinned.policy.version}, {pinned.policy.digest[:16]}; "
            f"the journal remembers {was}",
            hint="somebody changed the state directory: `cryofw policy pin FILE` with the right "
            "file puts it back",
        )
    return pinned
