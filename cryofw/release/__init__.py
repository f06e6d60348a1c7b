"""Releases: verified firmware, kept by its hash so that there is always a way back."""

from cryofw.release.firmware import Firmware, admit
from cryofw.release.store import ImageStore

__all__ = ["Firmware", "ImageStore", "admit"]
