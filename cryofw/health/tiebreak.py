"""Numbers between 0 and 1 from a seed, without chance: ties are broken the same way on a resume.

A smoothed rank needs a uniform number for each look. It comes from BLAKE2b over the seed (the
plan's digest and the stream's name) and a counter, so nothing is drawn and nothing is stored but
how far the counter is.
"""

from __future__ import annotations

import hashlib
import struct

_PER_DIGEST = 8
_UNPACK = struct.Struct("<8Q").unpack
_SCALE = 2.0**-53


class TieBreaker:
    """The uniform numbers of one stream, by index.

    Args:
        seed: bytes that name the stream; another seed is another sequence.
    """

    __slots__ = ("_batch", "_key", "_numbers")

    def __init__(self, seed: bytes) -> None:
        self._key = hashlib.blake2b(seed, digest_size=32).digest()
        self._batch = -1
        self._numbers: tuple[int, ...] = ()

    def uniform(self, index: int) -> float:
        """Number `index` (from 0) of the sequence; never 0 and never 1."""
        batch = index >> 3
        if batch != self._batch:
            counter = struct.pack("<Q", batch)
            self._numbers = _UNPACK(hashlib.blake2b(counter, key=self._key).digest())
            self._batch = batch
        return ((self._numbers[index % _PER_DIGEST] >> 11) + 0.5) * _SCALE
