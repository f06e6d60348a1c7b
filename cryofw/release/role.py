"""The roles of a release repository, what they are called, and how long their word holds.

The Update Framework, version 1.0.34: root names the keys of all roles; timestamp and snapshot say
what is current; targets delegates each product (a board) to a role of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryofw.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = "root"
TARGETS = "targets"
SNAPSHOT = "snapshot"
TIMESTAMP = "timestamp"
TOP_LEVEL = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)

ONLINE = "online"
"""In commands: the one key behind both snapshot and timestamp."""

LEAST_ROOT_KEYS = 2
"""No single person, and no single stolen key, may name the keys that everybody trusts."""

DAYS = {ROOT: 730, TARGETS: 365, SNAPSHOT: 90, TIMESTAMP: 60}
"""Days until expiry; a product's are those of targets. An offline lab lives by the timestamp's."""

_PRODUCT = re.compile(r"[a-z0-9](?:\.?[a-z0-9_-]){0,63}")


def is_product(name: str) -> bool:
    """Whether a role of this name can be a product: it becomes part of paths and URLs."""
    return _PRODUCT.fullmatch(name) is not None and name not in (*TOP_LEVEL, ONLINE, "latest")


def require_product(name: str) -> str:
    """The name, if a product can have it.

    Raises:
        UsageError: it cannot.
    """
    if not is_product(name):
        raise UsageError(
            f"{name!r} cannot be a product of a release repository",
            why="a product is a board: small letters, digits, single dots, dashes, underscores; "
            f"{', '.join((*TOP_LEVEL, ONLINE))} are other roles",
        )
    return name


def in_order(roles: Iterable[str]) -> list[str]:
    """Roles as people list them: root, targets, products by name, snapshot, timestamp."""
    rank = {ROOT: 0, TARGETS: 1, SNAPSHOT: 3, TIMESTAMP: 4}
    return sorted(roles, key=lambda role: (rank.get(role, 2), role))
