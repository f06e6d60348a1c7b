"""Directories, bundles and servers: none is trusted, all are bounded."""

from __future__ import annotations

import http.server
import io
import os
import ssl
import threading
import zipfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError

from cryofw.errors import CryofwError
from cryofw.journal import FileStorage
from cryofw.release import (
    ReleaseClient,
    ReleaseInvalid,
    ReleaseRefused,
    Repository,
    RepositoryUnusable,
    SourceUnreachable,
    make_bundle,
    revoke_release,
    rotate,
)
from cryofw.release.source import BundleFetcher, DirectoryFetcher, HttpFetcher, open_source
from tests.unit.release.publisher import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.release.publisher import Publisher


def write_out(publisher: Publisher, directory: Path) -> Path:
    storage = FileStorage(directory, public=True)
    for name, data in publisher.disk.entries.items():
        storage.write_atomic(name, data)
    return directory


@pytest.fixture
def directory(publisher: Publisher, tmp_path: Path) -> Path:
    """A repository with one release, as files."""
    publisher.release("1.0.0")
    return write_out(publisher, tmp_path / "www")


def read_latest(publisher: Publisher, source: str) -> bytes:
    lab = publisher.lab("reader")
    client = ReleaseClient(lab.state, source, lab.pinned, publisher.now)
    return client.read(client.choose("cc40", "latest"))


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def server(answer: Callable[[str], Answer], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the client saw enough
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        if tls is not None:
            made.socket = tls.wrap_socket(made.socket, server_side=True)
        made.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that left
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_address[1]}"
        finally:
            made.shutdown()
            thread.join()


def from_directory(directory: Path) -> Callable[[str], Answer]:
    def answer(path: str) -> Answer:
        file = directory / path.lstrip("/")
        return (200, {}, file.read_bytes()) if file.is_file() else (404, {}, b"no")

    return answer


def test_a_directory_a_bundle_and_a_server_give_the_same_release(
    publisher: Publisher, directory: Path, tmp_path: Path
) -> None:
    image = publisher.image("1.0.0")
    bundle = tmp_path / "lab.zip"
    bundle.write_bytes(make_bundle(publisher.repository()))

    assert read_latest(publisher, str(directory)) == image
    assert read_latest(publisher, str(bundle)) == image
    with server(from_directory(directory)) as address:
        assert read_latest(publisher, address) == image


def test_a_bundle_is_the_same_twice_and_leaves_revoked_images_out(publisher: Publisher) -> None:
    publisher.release("1.0.0", "1.1.0")
    revoke_release(publisher.repository(), "cc40", "1.0.0", "rita", "drifts")
    publisher.publish()
    first = make_bundle(publisher.repository())

    assert make_bundle(publisher.repository()) == first
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert [name.split(".", 1)[1] for name in names if name.endswith(".bin")] == ["1.1.0.bin"]
    assert not [name for name in names if name.startswith("staged")]


def test_a_bundle_goes_on_where_a_lab_with_an_old_root_stands(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.release("1.0.0")
    for new, old in (("dora", "anna"), ("cc41", "bart")):
        rotate(publisher.repository(), "root", [publisher.pool().key(new)], [old], None)
        publisher.publish()
    bundle = tmp_path / "lab.zip"
    bundle.write_bytes(make_bundle(publisher.repository()))

    assert read_latest(publisher, str(bundle)) == publisher.image("1.0.0")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "metadata/../../secret", ""])
def test_no_name_leads_out_of_the_source(directory: Path, name: str) -> None:
    (directory.parent / "secret").write_bytes(b"secret")
    with pytest.raises(ReleaseInvalid, match="leads out"):
        DirectoryFetcher(directory).download_bytes(name, 100)


def test_a_directory_gives_files_only_and_no_more_than_asked(directory: Path) -> None:
    fetcher = DirectoryFetcher(directory)
    os.mkfifo(directory / "pipe")
    (directory / "big").write_bytes(bytes(1000))

    with pytest.raises(ReleaseInvalid, match="no regular file"):
        fetcher.download_bytes("pipe", 100)
    with pytest.raises(ReleaseInvalid, match="no regular file"):
        fetcher.download_bytes("metadata", 100)
    with pytest.raises(DownloadHTTPError):
        fetcher.download_bytes("metadata/none.json", 100)
    with pytest.raises(DownloadLengthMismatchError):
        fetcher.download_bytes("big", 999)
    assert fetcher.download_bytes("big", 1000) == bytes(1000)


def test_a_file_that_is_no_bundle_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK, or not")
    with pytest.raises(RepositoryUnusable, match="no bundle of releases"):
        open_source(str(path))
    with pytest.raises(RepositoryUnusable, match="there are no releases at"):
        open_source(str(tmp_path / "missing"))


def test_a_bundle_that_unpacks_without_end_is_left(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata/timestamp.json", bytes(50 << 20))
    assert path.stat().st_size < 100_000

    with pytest.raises(DownloadLengthMismatchError):
        BundleFetcher(path).download_bytes("metadata/timestamp.json", 16384)


# --- servers --------------------------------------------------------------------------------


def test_a_server_that_stumbles_is_asked_again(publisher: Publisher, directory: Path) -> None:
    stumbles = iter([503, 500, 429])
    waits: list[float] = []

    def answer(path: str) -> Answer:
        status = next(stumbles, 200)
        return from_directory(directory)(path) if status == 200 else (status, {}, b"busy")

    with server(answer) as address:
        fetcher = HttpFetcher(address, attempts=4, sleep=waits.append)
        assert b"timestamp" in fetcher.download_bytes("metadata/timestamp.json", 16384)
    assert len(waits) == 3
    assert waits == sorted(waits)


def test_a_server_that_stays_down_is_unreachable_and_nothing_is_refused() -> None:
    waits: list[float] = []
    with server(lambda _path: (503, {}, b"busy")) as address:
        fetcher = HttpFetcher(address, sleep=waits.append)
        with pytest.raises(SourceUnreachable, match="HTTP 503") as caught:
            fetcher.download_bytes("metadata/timestamp.json", 100)
    assert caught.value.exit_code == 69
    assert len(waits) == 2
    with pytest.raises(SourceUnreachable, match="refused"):  # nobody listens there any more
        HttpFetcher(address, sleep=waits.append).download_bytes("metadata/timestamp.json", 100)


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_is_not_there_is_not_asked_for_again(status: int) -> None:
    asked: list[str] = []

    def answer(path: str) -> Answer:
        asked.append(path)
        return status, {}, b"no"

    with server(answer) as address, pytest.raises(DownloadHTTPError):
        HttpFetcher(address).download_bytes("metadata/2.root.json", 100)
    assert asked == ["/metadata/2.root.json"]


def test_a_server_that_never_stops_is_left_after_what_was_asked_for() -> None:
    endless = server(lambda _path: (200, {}, bytes(4 << 20)))
    with endless as address, pytest.raises(DownloadLengthMismatchError):
        HttpFetcher(address).download_bytes("metadata/timestamp.json", 16384)


def test_a_server_that_drips_is_left_at_the_deadline() -> None:
    now = iter(range(0, 100_000, 200))
    with server(lambda _path: (200, {}, bytes(1 << 20))) as address:
        fetcher = HttpFetcher(
            address, sleep=lambda _s: None, monotonic=lambda: float(next(now)), deadline_s=300
        )
        with pytest.raises(SourceUnreachable, match="took more than 300 s"):
            fetcher.download_bytes("image", 2 << 20)


def test_a_redirect_to_another_server_is_not_followed(directory: Path) -> None:
    with server(from_directory(directory)) as other:
        there = {"Location": f"{other}/metadata/timestamp.json"}
        moved = server(lambda _path: (302, there, b""))
        with moved as address, pytest.raises(ReleaseRefused, match="redirects to another server"):
            HttpFetcher(address).download_bytes("metadata/timestamp.json", 16384)


def test_a_redirect_on_the_same_server_is_followed(directory: Path) -> None:
    def answer(path: str) -> Answer:
        if path.startswith("/old"):
            return 302, {"Location": path.removeprefix("/old")}, b""
        return from_directory(directory)(path)

    with server(answer) as address:
        assert HttpFetcher(f"{address}/old").download_bytes("metadata/timestamp.json", 16384)


@pytest.mark.parametrize("address", ["http://lab.example/r", "ftp://lab.example/r", "s3://b/r"])
def test_only_https_is_taken_from_another_computer(address: str) -> None:
    with pytest.raises(ReleaseRefused, match="only https"):
        open_source(address)


def test_what_is_no_repository_is_told_as_such(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryUnusable, match="there is no release repository") as caught:
        read_latest(publisher, str(tmp_path / "empty"))
    assert caught.value.exit_code == 3
    welcome = server(lambda _path: (200, {}, b"<html>welcome</html>"))
    with welcome as address, pytest.raises(CryofwError, match="malformed"):
        read_latest(publisher, address)


def test_a_repository_on_disk_can_be_read_by_a_web_server(directory: Path) -> None:
    assert (directory / "metadata/timestamp.json").stat().st_mode & 0o777 == 0o644
    assert (directory / "metadata").stat().st_mode & 0o777 == 0o755
    assert Repository(FileStorage(directory), NOW, "it").exists


# --- TLS ------------------------------------------------------------------------------------


def certificate(directory: Path, host: str) -> Path:
    """A certificate for a host, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    path = directory / f"{host}.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + made.public_bytes(Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(("host", "reads"), [("localhost", True), ("other.lab", False)])
def test_https_wants_a_certificate_of_a_known_authority_for_this_host(
    publisher: Publisher,
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    reads: bool,
) -> None:
    pem = certificate(tmp_path, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with server(from_directory(directory), context) as address:
        port = address.rsplit(":", 1)[1]
        source = f"https://localhost:{port}"
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(SourceUnreachable, match=r"(?i)certificate") as caught:
            HttpFetcher(source, attempts=1).download_bytes("metadata/timestamp.json", 16384)
        assert "SSL_CERT_FILE" in caught.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        if reads:
            assert read_latest(publisher, source) == publisher.image("1.0.0")
            return
        with pytest.raises(SourceUnreachable, match=r"(?i)hostname|not valid for"):
            HttpFetcher(source, attempts=1).download_bytes("metadata/timestamp.json", 16384)
