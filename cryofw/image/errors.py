"""What can be wrong with an image: it cannot be read, or it must not be trusted."""

from __future__ import annotations

from cryofw.errors import BadInput, VerificationFailed


class ImageError(BadInput):
    """A file, an option or a key that no image can be made of or read from."""


class ImageRejected(VerificationFailed):
    """A well-formed image, or a signature, that must not be trusted."""
