"""Releases: verified firmware, kept by its hash so that there is always a way back; and the signed
repository that says what is released, to whom, and what was revoked.

With a release come its calibration coefficients; `cryofw.release.coefficients` reads their file,
and is imported only where there is one. The repository and its client stand on python-tuf, which
is imported when a release is asked for: a rollout of a file does not pay for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cryofw.release.coefficient import Coefficient, CoefficientError, CoefficientType, decoded
from cryofw.release.firmware import Firmware, admit
from cryofw.release.origin import ReleaseOrigin
from cryofw.release.recognition import RecognisedImage, recognise
from cryofw.release.store import ImageStore

if TYPE_CHECKING:
    from cryofw.release.bundle import make_bundle
    from cryofw.release.catalogue import (
        Announcement,
        add_release,
        latest_of,
        put_document,
        records_of,
        release_again,
        revoke_release,
    )
    from cryofw.release.client import OfferedRelease, ReleaseClient
    from cryofw.release.errors import (
        MetadataExpired,
        ReleaseInvalid,
        ReleaseRefused,
        RepositoryUnusable,
        SignaturesMissing,
        SourceUnreachable,
    )
    from cryofw.release.forgiveness import Forgiveness
    from cryofw.release.publication import Shortage, publish, require_staged, sign_staged
    from cryofw.release.record import ReleaseRecord
    from cryofw.release.release_name import LATEST, parse_release
    from cryofw.release.release_signer import SignerPool, keys_of_role
    from cryofw.release.repository import Repository
    from cryofw.release.root import read_root, require_sound_root
    from cryofw.release.rotation import FirstKeys, renew, rotate, stage_first
    from cryofw.release.trust import (
        PinnedRoot,
        load_pinned_root,
        pin_root,
        require_not_revoked,
        seen_releases,
    )

__all__ = [
    "LATEST",
    "Announcement",
    "Coefficient",
    "CoefficientError",
    "CoefficientType",
    "Firmware",
    "FirstKeys",
    "Forgiveness",
    "ImageStore",
    "MetadataExpired",
    "OfferedRelease",
    "PinnedRoot",
    "RecognisedImage",
    "ReleaseClient",
    "ReleaseInvalid",
    "ReleaseOrigin",
    "ReleaseRecord",
    "ReleaseRefused",
    "Repository",
    "RepositoryUnusable",
    "Shortage",
    "SignaturesMissing",
    "SignerPool",
    "SourceUnreachable",
    "add_release",
    "admit",
    "decoded",
    "keys_of_role",
    "latest_of",
    "load_pinned_root",
    "make_bundle",
    "parse_release",
    "pin_root",
    "publish",
    "put_document",
    "read_root",
    "recognise",
    "records_of",
    "release_again",
    "renew",
    "require_not_revoked",
    "require_sound_root",
    "require_staged",
    "revoke_release",
    "rotate",
    "seen_releases",
    "sign_staged",
    "stage_first",
]

_MODULES = {
    "LATEST": "release_name",
    "Announcement": "catalogue",
    "FirstKeys": "rotation",
    "Forgiveness": "forgiveness",
    "MetadataExpired": "errors",
    "OfferedRelease": "client",
    "PinnedRoot": "trust",
    "ReleaseClient": "client",
    "ReleaseInvalid": "errors",
    "ReleaseRecord": "record",
    "ReleaseRefused": "errors",
    "Repository": "repository",
    "RepositoryUnusable": "errors",
    "Shortage": "publication",
    "SignaturesMissing": "errors",
    "SignerPool": "release_signer",
    "SourceUnreachable": "errors",
    "add_release": "catalogue",
    "keys_of_role": "release_signer",
    "latest_of": "catalogue",
    "load_pinned_root": "trust",
    "make_bundle": "bundle",
    "parse_release": "release_name",
    "pin_root": "trust",
    "publish": "publication",
    "put_document": "catalogue",
    "read_root": "root",
    "records_of": "catalogue",
    "release_again": "catalogue",
    "renew": "rotation",
    "require_not_revoked": "trust",
    "require_sound_root": "root",
    "require_staged": "publication",
    "revoke_release": "catalogue",
    "rotate": "rotation",
    "seen_releases": "trust",
    "sign_staged": "publication",
    "stage_first": "rotation",
}


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
