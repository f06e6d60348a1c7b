"""A release manager with a repository in memory, and a lab that reads from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from cryofw.image import (
    Algorithm,
    ImageOptions,
    Payload,
    PublicKey,
    Version,
    attach,
    build_image,
)
from cryofw.journal import FileStorage
from cryofw.journal.memory_storage import MemoryDisk, MemoryStorage
from cryofw.keys import (
    Purpose,
    Signer,
    generate_key,
    load_file_signer,
    no_passphrase,
    parse_keyring,
)
from cryofw.release import (
    Announcement,
    FirstKeys,
    Forgiveness,
    PinnedRoot,
    ReleaseClient,
    ReleaseRecord,
    Repository,
    SignerPool,
    add_release,
    admit,
    publish,
    stage_first,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cryofw.journal import Storage
    from cryofw.keys import Keyring

NOW = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
BOARD = "cc40"
KEYS: Mapping[str, tuple[Purpose, Algorithm]] = {
    "anna": (Purpose.RELEASE, Algorithm.ED25519),
    "bart": (Purpose.RELEASE, Algorithm.ECDSA_P256),
    "carol": (Purpose.RELEASE, Algorithm.ED25519),
    "dora": (Purpose.RELEASE, Algorithm.ED25519),
    "products": (Purpose.RELEASE, Algorithm.ED25519),
    "products-2": (Purpose.RELEASE, Algorithm.ED25519),
    "server": (Purpose.RELEASE, Algorithm.ED25519),
    "server-2": (Purpose.RELEASE, Algorithm.ED25519),
    "cc40": (Purpose.RELEASE, Algorithm.ECDSA_P256),
    "cc40-2": (Purpose.RELEASE, Algorithm.ED25519),
    "cc41": (Purpose.RELEASE, Algorithm.ED25519),
    "firmware": (Purpose.IMAGE, Algorithm.ED25519),
}


def make_keyring(directory: Path) -> Keyring:
    """A keyring with every key of `KEYS`, unencrypted."""
    lines = ["schema: cryofw.keys/v1", "keys:"]
    for name, (purpose, algorithm) in KEYS.items():
        generate_key(directory / f"{name}.pem", algorithm, None)
        lines.append(f"  {name}: {{uri: 'file:{name}.pem', purpose: {purpose}, ")
        lines[-1] += f"algorithm: {algorithm}}}"
    return parse_keyring("\n".join(lines).encode(), directory / "keys.yaml")


class MemoryFetcher(FetcherInterface):
    """The repository as a server would give it: from memory, only what is public."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.asked.append(url)
        if url.startswith("staged/") or url not in self.disk.entries:
            raise DownloadHTTPError(f"{url} is missing", 404)
        yield self.disk.entries[url]


class Publisher:
    """The release manager; time stands still until `now` is set."""

    def __init__(self, keyring: Keyring, directory: Path) -> None:
        self.keyring = keyring
        self.directory = directory
        self.disk = MemoryDisk()
        self.storage: Storage = MemoryStorage(self.disk)
        self.now = NOW

    def image(
        self, version: str, *, board: str | None = BOARD, counter: int | None = None, fill: int = 1
    ) -> bytes:
        """A signed image; another `fill` is another firmware."""
        options = ImageOptions(
            version=Version.parse(version), pad_header=True, board=board, security_counter=counter
        )
        unsigned = build_image(Payload(bytes([fill]) * 512, 0), options)
        signer = self.file_signer("firmware", Purpose.IMAGE)
        public = signer.public_key
        return attach(unsigned, public, signer.sign(unsigned.to_sign(public.algorithm)))

    def file_signer(self, name: str, purpose: Purpose = Purpose.RELEASE) -> Signer:
        path = self.keyring.directory / f"{name}.pem"
        return load_file_signer(path, name, purpose, no_passphrase)

    @property
    def image_keys(self) -> list[PublicKey]:
        return self.keyring.public_keys(Purpose.IMAGE)

    def pool(self, *only: str) -> SignerPool:
        return SignerPool(self.keyring, no_passphrase, only)

    def repository(self) -> Repository:
        return Repository(self.storage, self.now, "the repository")

    def init(self, *, days: Mapping[str, int] | None = None, threshold: int = 2) -> None:
        pool = self.pool()
        repository = self.repository()
        keys = FirstKeys(
            [pool.key(name) for name in ("anna", "bart", "carol")],
            threshold,
            pool.key("products"),
            pool.key("server"),
            {BOARD: pool.key("cc40")},
        )
        stage_first(repository, keys, days or {})
        publish(repository, pool)

    def add(
        self,
        version: str,
        *,
        board: str = BOARD,
        counter: int | None = None,
        host: str = "",
        fill: int = 1,
    ) -> ReleaseRecord:
        """Stage a release."""
        data = self.image(version, board=board, counter=counter, fill=fill)
        said = Announcement(by="rita@lab", host=host, why=f"made {version}")
        return add_release(self.repository(), admit(data, self.image_keys), data, said)

    def publish(self, *only: str) -> None:
        publish(self.repository(), self.pool(*only))

    def release(self, *versions: str) -> None:
        """Add and publish."""
        for version in versions:
            self.add(version)
        self.publish()

    @property
    def root_file(self) -> bytes:
        """What is handed to labs."""
        return self.disk.entries["metadata/1.root.json"]

    def lab(self, name: str = "lab") -> Lab:
        return Lab(self, self.directory / name)


class Lab:
    """A host that trusts the publisher's first root."""

    def __init__(self, publisher: Publisher, state: Path) -> None:
        self.publisher = publisher
        self.state = state
        self.pinned = PinnedRoot(publisher.root_file)
        self.storage = FileStorage(state)

    def client(
        self,
        *forgive: str,
        disk: MemoryDisk | None = None,
        later: timedelta = timedelta(),
        why: str = "the server is down",
    ) -> ReleaseClient:
        """A client of the publisher's repository, or of a forged one."""
        return ReleaseClient(
            self.state,
            "the server",
            self.pinned,
            self.publisher.now + later,
            Forgiveness(tuple(forgive), "anna@lab", why) if forgive else None,
            MemoryFetcher(disk or self.publisher.disk),
        )

    def versions(self, board: str = BOARD) -> Sequence[str]:
        """The versions it sees, oldest release first."""
        return [each.record.version for each in self.client().releases(board)]
