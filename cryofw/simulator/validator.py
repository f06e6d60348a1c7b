"""The bootloader's judgement on an image: its own hash, and a signature by one of its keys.

This is MCUboot's check, not cryofw's: what cryofw refuses beyond it, a device would boot.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryofw.image import ImageError, ImageRejected, parse_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.image import PublicKey


class SignatureCheck:
    """Judges images with the public keys built into a bootloader; remembers what it judged."""

    def __init__(self, keys: Sequence[PublicKey]) -> None:
        self._keys = tuple(keys)
        self._verdicts: dict[bytes, bool] = {}

    def __call__(self, data: bytes) -> bool:
        """Say whether the bootloader would start `data`."""
        digest = hashlib.sha256(data).digest()
        verdict = self._verdicts.get(digest)
        if verdict is None:
            verdict = self._verdicts[digest] = self._judge(data)
        return verdict

    def _judge(self, data: bytes) -> bool:
        try:
            image = parse_image(data)
            if image.hash != image.digest:
                return False
            for key in self._keys:
                if key.key_hash != image.key_hash:
                    continue
                kind = key.algorithm.signature_type
                signature = next((tlv.value for tlv in image.tlvs if tlv.type == kind), b"")
                key.verify_digest(signature, image.digest)
                return True
        except (ImageError, ImageRejected):
            return False
        return False
