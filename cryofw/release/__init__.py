"""Releases: verified firmware, kept by its hash so that there is always a way back.

With it, the calibration coefficients that a release brings; `cryofw.release.coefficients` reads
their file, and is imported only where there is one.
"""

from cryofw.release.coefficient import Coefficient, CoefficientError, CoefficientType, decoded
from cryofw.release.firmware import Firmware, admit
from cryofw.release.store import ImageStore

__all__ = [
    "Coefficient",
    "CoefficientError",
    "CoefficientType",
    "Firmware",
    "ImageStore",
    "admit",
    "decoded",
]
