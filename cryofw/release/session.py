"""One run of the TUF client, with a clock of ours and without files between check and use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.updater import Updater

from cryofw.release.metadata import Root, Snapshot, Targets, Timestamp
from cryofw.release.role import ROOT, SNAPSHOT, TARGETS, TIMESTAMP

if TYPE_CHECKING:
    from datetime import datetime

    from tuf.ngclient.fetcher import FetcherInterface

    from cryofw.release.metadata import TargetFile

METADATA_URL = "metadata/"
TARGETS_URL = "targets/"
LARGEST_TARGET = 64 << 20

_T = TypeVar("_T")


class Session(Updater):
    """The TUF client workflow (specification 5), against one source, once.

    Args:
        directory: where verified metadata is kept; it must exist.
        fetcher: the source.
        now: the time that expiry is compared with.
        bootstrap: the trusted root file; None takes the `root.json` that `directory` holds.
        metadata_url: what names of metadata are added to; targets_url: names of targets.
    """

    def __init__(
        self,
        directory: Path,
        fetcher: FetcherInterface,
        now: datetime,
        bootstrap: bytes | None,
        *,
        metadata_url: str = METADATA_URL,
        targets_url: str = TARGETS_URL,
    ) -> None:
        super().__init__(
            str(directory),
            metadata_url,
            target_base_url=targets_url,
            fetcher=fetcher,
            config=UpdaterConfig(),
            bootstrap=bootstrap,
        )
        # python-tuf reads the clock itself, in the constructor of this very object.
        self._trusted_set.reference_time = now

    @property
    def root(self) -> Root:
        """The root that is trusted now."""
        return _as(Root, self._trusted_set[ROOT])

    @property
    def timestamp(self) -> Timestamp:
        """The timestamp; only after `refresh`."""
        return _as(Timestamp, self._trusted_set[TIMESTAMP])

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot; only after `refresh`."""
        return _as(Snapshot, self._trusted_set[SNAPSHOT])

    @property
    def top_targets(self) -> Targets:
        """The metadata that delegates the products; only after `refresh`."""
        return _as(Targets, self._trusted_set[TARGETS])

    def product(self, name: str) -> Targets:
        """The metadata of a product that `top_targets` delegates, fetched and verified."""
        return self._load_targets(name, TARGETS)

    def read_target(self, target: TargetFile) -> bytes:
        """A target's bytes; what was checked is what is returned, whatever a disk does meanwhile.

        Raises:
            LengthOrHashMismatchError, DownloadError: python-tuf's.
        """
        with tempfile.TemporaryDirectory(prefix="cryofw-") as directory:
            path = Path(self.download_target(target, str(Path(directory, "target"))))
            data = path.read_bytes()
        target.verify_length_and_hashes(data)
        return data


def _as(kind: type[_T], value: object) -> _T:
    assert isinstance(value, kind)
    return value


def sync_metadata(directory: Path) -> None:
    """What was seen must stay seen, also after a power cut: an older copy could be offered then."""
    for path in [*directory.glob("*.json"), *directory.glob("root_history/*.json")]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for folder in (directory, directory / "root_history"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
