"""Images for games: a firmware of our own that behaves as told, signed by a key of the game."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryofw.image import ImageOptions, Payload, PublicKey, Version, attach, build_image
from cryofw.simulator.firmware import MARKER

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILLER = bytes(range(256)) * 8


class GameKey:
    """A key pair that follows from its name: worthless outside of a game, and never stored."""

    def __init__(self, name: str) -> None:
        secret = hashlib.sha256(f"cryofw game {name}".encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public = PublicKey.from_pem(pem)

    def sign(self, version: str, board: str, behaviour: Mapping[str, object]) -> bytes:
        """An image of the firmware that behaves so (see `simulator.firmware`)."""
        marker = MARKER + json.dumps(behaviour, sort_keys=True).encode() + b"\x00"
        options = ImageOptions(version=Version.parse(version), pad_header=True, board=board or None)
        unsigned = build_image(Payload(_FILLER + marker.ljust(256, b"\x00")), options)
        return attach(
            unsigned, self.public, self._key.sign(unsigned.to_sign(self.public.algorithm))
        )


@lru_cache(maxsize=8)
def game_key(name: str) -> GameKey:
    """The key pair of this name."""
    return GameKey(name)
