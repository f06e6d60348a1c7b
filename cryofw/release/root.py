"""The root file: what makes one sound, whoever it belongs to."""

from __future__ import annotations

from cryofw.release.errors import ReleaseInvalid
from cryofw.release.metadata import Metadata, Root
from cryofw.release.role import LEAST_ROOT_KEYS, ROOT
from cryofw.release.translation import translated


def read_root(data: bytes, name: str) -> Root:
    """A root file that is sound by itself: parsed, signed by its own keys, not by one person.

    Whether it is the right one, only a person can tell, by its fingerprint.

    Raises:
        ReleaseInvalid: it is not.
    """
    with translated(name):
        metadata = Metadata[Root].from_bytes(data)
        root = metadata.signed
        if not isinstance(root, Root):
            raise ReleaseInvalid(f"{name} is no root file", why="it is metadata of another role")
        root.verify_delegate(ROOT, metadata.signed_bytes, metadata.signatures)
    require_sound_root(root, name)
    return root


def require_sound_root(root: Root, what: str) -> None:
    """A root that no single key could have signed, and that counts no key twice.

    TUF counts key ids; two ids of one key would let one person be two.

    Raises:
        ReleaseInvalid: it is not.
    """
    hint = "tell whoever publishes there; nothing of it was used"
    for name, role in root.roles.items():
        material = [_material(root, keyid) for keyid in role.keyids]
        if len(set(material)) != len(material):
            raise ReleaseInvalid(f"{what} counts one key twice", why=f"role {name}", hint=hint)
    threshold = root.roles[ROOT].threshold
    if threshold < LEAST_ROOT_KEYS:
        raise ReleaseInvalid(
            f"{what} can be replaced by one person alone",
            why=f"its threshold is {threshold}, at least {LEAST_ROOT_KEYS} keys must sign a root",
            hint=hint,
        )


def _material(root: Root, keyid: str) -> str:
    public = root.keys[keyid].keyval.get("public")
    return "".join(str(public).split())
