"""Acts that no journal records, signing images and releases: who may, where a policy is at hand.

This decides before anything of policies is imported: `cryofw sign` has to start fast.
"""

from __future__ import annotations

import os
from pathlib import Path

POLICY = "CRYOFW_POLICY"


def acting_as(role: str, subject: str) -> str:
    """Who does it, proven with their ssh key, and with the role; empty where no policy is at hand.

    The policy is the file that CRYOFW_POLICY names, else the one pinned in the state directory.

    Args:
        role: of the policy, such as `sign`.
        subject: what they are about to do it with, for the statement that they sign.

    Raises:
        BadInput, Refused, VerificationFailed: as `authority.require_role`.
    """
    named = os.environ.get(POLICY, "").strip()
    path = Path(named or Path(os.environ.get("CRYOFW_STATE", ".cryofw"), "policy", "policy.yaml"))
    if not named and not path.exists():
        return ""
    from cryofw.cli.authority import require_role_here
    from cryofw.cli.file import read_trusted_file
    from cryofw.trust import Role, parse_policy

    policy = parse_policy(read_trusted_file(path, "policy"), str(path))
    return require_role_here(policy, Role(role), subject)
