"""HTTP as Prometheus is asked: every way in which a server can fail, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cryofw.errors import BadInput
from cryofw.telemetry import (
    AccessDenied,
    AnswerUnusable,
    HttpClient,
    RedirectRefused,
    SourceTimeout,
    SourceUnavailable,
    read_token,
)
from tests.unit.telemetry.scripted_server import Reply, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "s3cr3t-t0ken"


def get(client: HttpClient, path: str = "/api/v1/query", query: str = "query=up") -> bytes:
    return asyncio.run(client.get(path, query)).body


@contextmanager
def raw_server(*pieces: bytes) -> Iterator[str]:
    """Sends `pieces` to whoever connects, and then holds the line until the test is over."""
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for piece in pieces:
                connection.sendall(piece)
            done.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join(10)
    assert not thread.is_alive()


def test_the_token_travels_in_its_header_only(server: ScriptedServer) -> None:
    server.answer = lambda _: Reply(200, b"fine")
    assert get(HttpClient(f"{server.url}/prom/", token=TOKEN)) == b"fine"
    [asked] = server.asked
    assert (asked.path, asked.parameters) == ("/prom/api/v1/query", {"query": "up"})
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    get(HttpClient(server.url))
    assert "Authorization" not in server.asked[1].headers


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("token", "hint"), [(None, "set `token_env`"), (TOKEN, "wrong, expired")])
def test_a_refusal_says_what_about_the_token(
    server: ScriptedServer, status: int, token: str | None, hint: str
) -> None:
    server.answer = lambda _: Reply(status, b"no")
    with pytest.raises(AccessDenied) as caught:
        get(HttpClient(server.url, token=token))
    assert hint in caught.value.hint
    assert caught.value.exit_code == 5
    assert TOKEN not in f"{caught.value}{caught.value.hint}{caught.value!r}"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_worth_another_try(server: ScriptedServer, status: int) -> None:
    server.answer = lambda _: Reply(status, b"<h1>overloaded\x1b[2J</h1>")
    with pytest.raises(SourceUnavailable) as caught:
        get(HttpClient(server.url))
    assert f"HTTP {status}" in caught.value.why
    assert "overloaded [2J" in caught.value.why
    assert caught.value.exit_code == 69


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as once:
        url = f"http://127.0.0.1:{once.getsockname()[1]}"
    with pytest.raises(SourceUnavailable, match="cannot be reached: Connection refused"):
        get(HttpClient(url))


@pytest.mark.parametrize("host", ["nowhere.invalid", f"{'x' * 70}.invalid", "a..b"])
def test_no_such_host(host: str) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be reached"):
        get(HttpClient(f"http://{host}"))


@pytest.mark.parametrize(
    "pieces",
    [(), (b"HTTP/1.1 200 OK\r\n",), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"{")],
)
def test_an_answer_that_stops_times_out(pieces: tuple[bytes, ...]) -> None:
    with (
        raw_server(*pieces) as url,
        pytest.raises(SourceTimeout, match=r"nothing whole within 0\.2 s"),
    ):
        get(HttpClient(url, timeout_s=0.2))


def test_what_does_not_speak_http() -> None:
    with (
        raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as url,
        pytest.raises(AnswerUnusable, match="does not speak HTTP"),
    ):
        get(HttpClient(url))


def test_a_line_that_closes_early_gives_what_came() -> None:
    """A cut answer is no whole JSON; that is found where it is read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert get(HttpClient(url)) == b"{"
        thread.join(10)


def test_an_endless_answer_is_refused(server: ScriptedServer) -> None:
    server.answer = lambda _: Reply(200, b"x" * 200_000)
    with pytest.raises(AnswerUnusable, match="too long: more than 100,000 bytes"):
        get(HttpClient(server.url, max_bytes=100_000))


def test_a_redirect_on_the_same_server_is_followed(server: ScriptedServer) -> None:
    server.answer = lambda asked: (
        Reply(200, b"here") if asked.path == "/new" else Reply(302, headers={"Location": "/new"})
    )
    assert get(HttpClient(server.url, token=TOKEN)) == b"here"


def test_a_redirect_elsewhere_is_refused_and_never_seen(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    for location in (f"{other_server.url}/x", f"//127.0.0.1:{other_server.port}/x"):
        server.answer = lambda _, to=location: Reply(301, headers={"Location": to})  # type: ignore[misc]  # bound now
        with pytest.raises(RedirectRefused) as caught:
            get(HttpClient(server.url, token=TOKEN))
        assert str(other_server.port) in caught.value.why
    assert other_server.asked == []


def test_less_security_is_another_server(server: ScriptedServer) -> None:
    https = f"https://127.0.0.1:{server.port}/x"
    server.answer = lambda _: Reply(302, headers={"Location": https})
    with pytest.raises(RedirectRefused, match="HTTP 302 to https://"):
        get(HttpClient(server.url))


def test_a_redirect_that_never_ends_is_no_answer(server: ScriptedServer) -> None:
    server.answer = lambda _: Reply(302, headers={"Location": "/again"})
    answer = asyncio.run(HttpClient(server.url).get("/again"))
    assert answer.status == 302


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "lab.pem", tmp_path / "lab.key"
    cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def test_tls_trusts_the_labs_authority_and_nothing_else(certificate: tuple[Path, Path]) -> None:
    cert_file, key_file = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    scripted = ScriptedServer(tls=context)
    scripted.answer = lambda _: Reply(200, b"safe")
    try:
        assert get(HttpClient(scripted.url, token=TOKEN, ca=str(cert_file))) == b"safe"
        with pytest.raises(SourceUnavailable, match="self-signed") as caught:
            get(HttpClient(scripted.url, token=TOKEN))
        assert "`ca`" in caught.value.hint
    finally:
        scripted.close()
    assert len(scripted.asked) == 1


def test_a_ca_file_that_is_none(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    for path in (tmp_path / "missing.pem", certificate[1]):
        with pytest.raises(BadInput, match="the lab's CA cannot be read"):
            HttpClient("https://127.0.0.1", ca=str(path))


def test_the_token_is_read_from_the_environment() -> None:
    assert read_token("T", {"T": f" {TOKEN}\n"}) == TOKEN
    for environ in ({}, {"T": ""}, {"T": "two words"}, {"T": "a\nHost: b"}, {"T": "é"}):
        with pytest.raises(AccessDenied, match="T "):
            read_token("T", environ)
