"""python-tuf's own client, with its own HTTP library, takes releases from our repository."""

from __future__ import annotations

import functools
import http.server
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tuf.api.exceptions import ExpiredMetadataError
from tuf.ngclient.updater import Updater

from cryofw.journal import FileStorage
from cryofw.release import rotate
from tests.unit.release.publisher import NOW, Publisher, make_keyring

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.peer


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory and the address at which it is served."""
    directory = tmp_path / "www"
    directory.mkdir()
    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield directory, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def updater(tmp_path: Path, address: str, root: bytes) -> Updater:
    for name in ("metadata", "targets"):
        (tmp_path / "client" / name).mkdir(parents=True, exist_ok=True)
    return Updater(
        str(tmp_path / "client" / "metadata"),
        f"{address}/metadata/",
        str(tmp_path / "client" / "targets"),
        f"{address}/targets/",
        bootstrap=root,
    )


def test_the_stock_client_follows_a_release_and_a_rotation_of_every_key(
    tmp_path: Path, served: tuple[Path, str]
) -> None:
    directory, address = served
    (tmp_path / "keys").mkdir()
    publisher = Publisher(make_keyring(tmp_path / "keys"), tmp_path)
    storage = FileStorage(directory, public=True)
    publisher.storage = storage
    publisher.now = datetime.now(UTC)
    publisher.init()
    root = storage.read("metadata/1.root.json")
    publisher.release("1.0.0")

    client = updater(tmp_path, address, root)
    target = client.get_targetinfo("cc40/1.0.0.bin")
    assert target is not None
    path = client.download_target(target)

    assert Path(path).read_bytes() == publisher.image("1.0.0")
    assert target.custom["product"] == "cc40"

    pool = publisher.pool()
    for role, new, old in (
        ("online", "server-2", "server"),
        ("targets", "products-2", "products"),
        ("cc40", "cc40-2", "cc40"),
        ("root", "dora", "anna"),
    ):
        rotate(publisher.repository(), role, [pool.key(new)], [old], None)
        publisher.publish()
        assert updater(tmp_path, address, root).get_targetinfo("cc40/1.0.0.bin") is not None
    publisher.release("1.1.0")
    assert updater(tmp_path, address, root).get_targetinfo("cc40/1.1.0.bin") is not None


def test_the_stock_client_refuses_what_has_expired(
    tmp_path: Path, served: tuple[Path, str]
) -> None:
    directory, address = served
    (tmp_path / "keys").mkdir()
    publisher = Publisher(make_keyring(tmp_path / "keys"), tmp_path)
    publisher.storage = FileStorage(directory, public=True)
    publisher.now = NOW.replace(year=2020)
    publisher.init()

    with pytest.raises(ExpiredMetadataError):
        updater(tmp_path, address, publisher.storage.read("metadata/1.root.json")).refresh()
