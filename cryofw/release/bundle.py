"""An air-gapped bundle: one file with the metadata, every root, and the images it names.

A zip file whose names are those of the repository. It is verified like any other source, so it
may travel by any hand; the same repository gives the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from cryofw.release.catalogue import records_of
from cryofw.release.errors import RepositoryUnusable
from cryofw.release.metadata_set import why_inconsistent
from cryofw.release.repository import metadata_name
from cryofw.release.role import ROOT
from cryofw.release.translation import translated

if TYPE_CHECKING:
    from cryofw.release.repository import Repository


def make_bundle(repository: Repository) -> bytes:
    """All that is published, revoked images aside (their records, and so the reasons, go along).

    Raises:
        RepositoryUnusable, StorageMissing: it is not whole: nobody could use the bundle.
        ReleaseInvalid: a file is not the one that its metadata names.
    """
    shown = repository.require_published()
    why = why_inconsistent(shown)
    if why:
        raise RepositoryUnusable(f"{repository.name} does not hold together", why=why)
    assert shown.root is not None
    names = [metadata_name(ROOT, n + 1) for n in range(shown.root.signed.version)]
    names += [
        metadata_name(role, metadata.signed.version)
        for role, metadata in shown.by_role.items()
        if role != ROOT
    ]
    entries = {name: repository.storage.read(name) for name in names}
    for metadata in shown.all_targets.values():
        revoked = {r.path for r in records_of(metadata.signed).values() if r.revoked is not None}
        for path, target in metadata.signed.targets.items():
            if path in revoked:
                continue
            folder, _, base = path.rpartition("/")
            file = f"{target.hashes['sha256']}.{base}"
            name = f"targets/{folder}/{file}" if folder else f"targets/{file}"
            entries[name] = repository.storage.read(name)
            with translated(repository.name, path):
                target.verify_length_and_hashes(entries[name])
    return _zipped(entries)


def _zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name)  # its time is fixed: 1980
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    return buffer.getvalue()
