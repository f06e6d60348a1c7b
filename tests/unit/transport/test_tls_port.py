"""`tls://` against servers on loopback, with certificates made here: what fails says why."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cryofw.transport import (
    ChannelUntrusted,
    PortOpener,
    PortUnavailable,
    StreamLost,
    UnknownPort,
    open_when_back,
    port_keys,
)
from cryofw.transport.tls_errors import tls_error
from cryofw.transport.tls_port import TlsPort, parse_tls_url
from cryofw.transport.tls_stream import TlsOpener
from tests.unit.transport.certificates import DAY, Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cryofw.clock import Clock
    from cryofw.transport import ByteStream

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CA", "CERT", "KEY", "PASSPHRASE"):
        monkeypatch.delenv(f"CRYOFW_TLS_{name}", raising=False)


@dataclass(frozen=True)
class Pki:
    """Two authorities, and what the first one issued."""

    directory: Path
    ours: Authority
    other: Authority

    def path(self, name: str) -> Path:
        return self.directory / name


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("pki")
    made = Pki(directory, Authority(directory, "lab"), Authority(directory, "other"))
    made.ours.issue("gate", "localhost", "127.0.0.1")
    made.ours.issue("expired", "localhost", begins=-9 * DAY, ends=timedelta(hours=-1))
    made.ours.issue("early", "localhost", begins=DAY)
    made.ours.issue("elsewhere", "gate.lab")
    made.ours.issue("nameless")
    made.other.issue("foreign", "localhost")
    made.ours.issue("host")
    made.ours.issue("host-expired", begins=-9 * DAY, ends=timedelta(hours=-1))
    made.other.issue("host-foreign")
    made.ours.issue("host-locked", passphrase=b"sesame")
    return made


@dataclass(frozen=True)
class Gateway:
    """How a server is set up; `wants_client` makes it ask for a certificate of `lab`."""

    certificate: str = "gate"
    wants_client: bool = False
    newest: ssl.TLSVersion = TLS13

    def context(self, pki: Pki) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.newest < TLS12:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.minimum_version = ssl.TLSVersion.TLSv1
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                context.maximum_version = self.newest
        else:
            context.maximum_version = self.newest
        context.load_cert_chain(
            pki.path(f"{self.certificate}.pem"), pki.path(f"{self.certificate}.key")
        )
        if self.wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(pki.ours.path)
        return context


@dataclass
class Running:
    """An echo on loopback, and what it saw. Blocking, in threads: asyncio's server does not send
    the alert by which a real one says why it refuses.
    """

    number: int = 4001
    seen: bytearray = field(default_factory=bytearray)
    protocols: list[str] = field(default_factory=list)
    lines: list[socket.socket] = field(default_factory=list)

    def url(self, pki: Pki, *, host: str = "localhost", client: str = "", **more: str) -> str:
        given = {"ca": str(pki.ours.path)} | more
        if client:
            given |= {"cert": str(pki.path(f"{client}.pem")), "key": str(pki.path(f"{client}.key"))}
        query = "&".join(f"{name}={value}" for name, value in given.items() if value)
        return f"tls://{host}:{self.number}?{query}"

    def serve(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                threading.Thread(target=self._talk, args=(plain, context), daemon=True).start()

    def _talk(self, plain: socket.socket, context: ssl.SSLContext | None) -> None:
        line = plain
        with contextlib.suppress(OSError):
            if context is not None:
                line = encrypted = context.wrap_socket(
                    plain, server_side=True, do_handshake_on_connect=False
                )
                self._shake_hands(encrypted)
            self.lines.append(line)
            while data := line.recv(65536):
                self.seen += data
                line.sendall(data)
        line.close()

    def _shake_hands(self, line: ssl.SSLSocket) -> None:
        try:
            line.do_handshake()
        except ssl.SSLError:
            line.shutdown(socket.SHUT_WR)  # the alert has to arrive before a reset
            raise
        self.protocols.append(line.version() or "")


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[Running]:
    """Serve an echo on loopback, with TLS if there is a context."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Running(listener.getsockname()[1])
        thread = threading.Thread(target=running.serve, args=(listener, context))
        thread.start()
        try:
            yield running
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for line in running.lines:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(line, socket.SHUT_RDWR)


async def read_exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.read(size - len(data))
        assert piece, f"the peer closed after {len(data)} of {size} bytes"
        data += piece
    return data


@pytest.mark.parametrize("newest", [TLS12, TLS13])
@pytest.mark.parametrize("client", ["", "host"])
def test_bytes_go_both_ways(pki: Pki, newest: ssl.TLSVersion, client: str) -> None:
    async def main() -> None:
        gateway = Gateway(wants_client=bool(client), newest=newest)
        with serving(gateway.context(pki)) as running:
            stream = await PortOpener().open(running.url(pki, client=client), baud=115200)
            data = os.urandom(200_000)
            echoed, _ = await asyncio.gather(read_exactly(stream, len(data)), stream.write(data))
            assert echoed == data
            assert running.protocols == [{TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[newest]]
            await stream.close()
            await stream.close()

    asyncio.run(main())


REFUSALS: Mapping[str, tuple[Gateway, dict[str, str], str, str]] = {
    "expired": (Gateway("expired"), {}, "has expired", "renew it"),
    "not valid yet": (Gateway("early"), {}, "is not valid yet", "clock"),
    "another authority": (Gateway("foreign"), {}, "comes from another authority", "lab-ca.pem"),
    "another name": (Gateway("elsewhere"), {}, "is not for the name 'localhost'", "add name="),
    "another address": (
        Gateway("elsewhere"),
        {"host": "127.0.0.1"},
        "is not for the name '127.0.0.1'",
        "add name=",
    ),
    "no name": (Gateway("nameless"), {}, "is not for the name 'localhost'", "another machine"),
    "a name that we ask for": (Gateway(), {"name": "gate.lab"}, "name 'gate.lab'", "name="),
    "no client certificate": (
        Gateway(wants_client=True),
        {},
        "refuses this host",
        "a certificate of the authority",
    ),
    "a foreign client": (
        Gateway(wants_client=True),
        {"client": "host-foreign"},
        "refuses this host",
        "a certificate of the authority",
    ),
    "a foreign client, TLS 1.2": (
        Gateway(wants_client=True, newest=TLS12),
        {"client": "host-foreign"},
        "refuses this host",
        "a certificate of the authority",
    ),
    "an expired client": (
        Gateway(wants_client=True),
        {"client": "host-expired"},
        "refuses this host",
        "a certificate of the authority",
    ),
    "no client certificate, TLS 1.2": (
        Gateway(wants_client=True, newest=TLS12),
        {},
        "no safe way to talk",
        "client certificate",
    ),
    "an old protocol": (
        Gateway(newest=ssl.TLSVersion.TLSv1_1),
        {},
        "no safe way to talk",
        "TLS 1.2 or newer",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_line_that_cannot_be_trusted_is_refused_and_says_why(pki: Pki, name: str) -> None:
    gateway, how, what, hint = REFUSALS[name]

    async def main() -> None:
        with serving(gateway.context(pki)) as running:
            with pytest.raises(ChannelUntrusted) as caught:
                await PortOpener().open(running.url(pki, **how), baud=115200)
            assert what in caught.value.what
            assert hint in caught.value.hint
            assert caught.value.why
            assert running.seen == b""

    asyncio.run(main())


def test_the_reasons_of_a_refused_client_differ(pki: Pki) -> None:
    async def why(client: str) -> str:
        with serving(Gateway(wants_client=True).context(pki)) as running:
            with pytest.raises(ChannelUntrusted) as caught:
                await PortOpener().open(running.url(pki, client=client), baud=115200)
            return caught.value.why

    reasons = [asyncio.run(why(client)) for client in ("", "host-foreign", "host-expired")]

    assert "we showed none" in reasons[0]
    assert "not one it trusts" in reasons[1]
    assert "has expired" in reasons[2]


def test_name_says_what_the_certificate_says(pki: Pki) -> None:
    async def main() -> None:
        with serving(Gateway("elsewhere").context(pki)) as running:
            url = running.url(pki, host="127.0.0.1", name="gate.lab")
            stream = await PortOpener().open(url, baud=115200)
            await stream.write(b"x")
            assert await stream.read() == b"x"
            await stream.close()

    asyncio.run(main())


def test_a_server_without_tls_is_told_and_gets_nothing_in_the_clear(pki: Pki) -> None:
    async def main() -> None:
        with serving(None) as running:
            with pytest.raises(ChannelUntrusted, match="does not speak TLS"):
                await PortOpener().open(running.url(pki), baud=115200)
            assert running.seen[:1] == b"\x16"  # the handshake's first byte, and that was all

    asyncio.run(main())


def test_a_server_that_says_nothing_is_given_up(pki: Pki) -> None:
    async def main() -> None:
        hold = asyncio.Event()

        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hold.wait()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        number = server.sockets[0].getsockname()[1]
        with pytest.raises(PortUnavailable, match=r"handshake within 0.2 s"):
            await TlsOpener(open_limit_s=0.2).open(
                f"tls://127.0.0.1:{number}?ca={pki.ours.path}", baud=9600
            )
        hold.set()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_nobody_there_may_come_back_and_a_wrong_certificate_is_not_waited_for(
    pki: Pki, clock: Clock
) -> None:
    class Counted:
        def __init__(self) -> None:
            self.opened = 0

        async def open(self, url: str, *, baud: int) -> ByteStream:
            self.opened += 1
            return await PortOpener().open(url, baud=baud)

    async def tries(url: str) -> tuple[type[Exception], int]:
        opener = Counted()
        with pytest.raises(PortUnavailable) as caught:
            await open_when_back(opener, url, baud=9600, clock=clock, patience_s=3)
        return type(caught.value), opener.opened

    async def main() -> None:
        with serving(Gateway("expired").context(pki)) as running:
            assert await tries(running.url(pki)) == (ChannelUntrusted, 1)
        kind, count = await tries(running.url(pki))
        assert kind is PortUnavailable
        assert count > 2

    asyncio.run(main())


def test_a_gateway_that_hangs_up_at_once_is_told_apart(pki: Pki) -> None:
    async def main() -> None:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=Gateway().context(pki))
        number = server.sockets[0].getsockname()[1]
        with pytest.raises(PortUnavailable, match="with the handshake"):
            await PortOpener().open(f"tls://localhost:{number}?ca={pki.ours.path}", baud=9600)
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_a_line_that_breaks_or_is_closed_says_so(pki: Pki) -> None:
    async def main() -> None:
        with serving(Gateway().context(pki)) as running:
            stream = await PortOpener().open(running.url(pki), baud=115200)
            await stream.write(b"x")
            assert await stream.read() == b"x"
            waiting = asyncio.create_task(stream.read())
            await asyncio.sleep(0)
            await stream.close()
            with pytest.raises(StreamLost, match="closed"):
                await waiting
            with pytest.raises(StreamLost, match="closed"):
                await stream.write(b"x")
            with pytest.raises(StreamLost, match="closed"):
                await stream.read()

            second = await PortOpener().open(running.url(pki), baud=115200)
            socket.socket.shutdown(running.lines[1], socket.SHUT_RDWR)
            try:
                ended = await second.read()
            except StreamLost:
                ended = b""
            assert ended == b""
            await second.close()

    asyncio.run(main())


def test_what_the_device_says_during_the_handshake_is_not_lost(pki: Pki) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"*** Booting MCUboot ***")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=Gateway().context(pki))
        number = server.sockets[0].getsockname()[1]
        stream = await PortOpener().open(f"tls://localhost:{number}?ca={pki.ours.path}", baud=9600)
        assert await read_exactly(stream, 4) == b"*** "
        assert await read_exactly(stream, 19) == b"Booting MCUboot ***"
        await stream.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("spoil", "what", "hint"),
    [
        (lambda p: {"ca": ""}, "nothing says whose certificate", "CRYOFW_TLS_CA"),
        (lambda p: {"ca": str(p.path("gone.pem"))}, "cannot use the authority", "PEM"),
        (lambda p: {"ca": str(p.path("gate.key"))}, "cannot use the authority", "PEM"),
        (lambda p: {"client": "gone"}, "cannot use the client certificate", "PEM"),
        (lambda p: {"client": "host-locked"}, "cannot use the client", "CRYOFW_TLS_PASSPHRASE"),
        (
            lambda p: {"cert": str(p.path("host.pem")), "key": str(p.path("gate.key"))},
            "cannot use the client",
            "do not belong together",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(
    pki: Pki, spoil: Callable[[Pki], dict[str, str]], what: str, hint: str
) -> None:
    url = Running().url(pki, **spoil(pki))

    with pytest.raises(ChannelUntrusted) as caught:
        parse_tls_url(url).context()

    assert what in caught.value.what
    assert hint in caught.value.hint


def test_a_client_key_that_others_can_read_is_refused(pki: Pki, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    key.write_bytes(pki.path("host.key").read_bytes())
    key.chmod(0o640)

    with pytest.raises(ChannelUntrusted, match="open to others"):
        parse_tls_url(Running().url(pki, cert=str(pki.path("host.pem")), key=str(key))).context()


def test_a_locked_client_key_opens_with_its_passphrase(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYOFW_TLS_PASSPHRASE", "sesame")

    parse_tls_url(Running().url(pki, client="host-locked")).context()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("tls://gate", "no port"),
        ("tls://:4001", "no host"),
        ("tls://gate:0", "no port"),
        ("tls://gate:70000", "range"),
        ("tls://gate:4001/x", "more than these"),
        ("tls://gate:4001#x", "more than these"),
        ("tls://me:secret@gate:4001", "by its certificate"),
        ("tls://gate:4001?ca=ca.pem", "relative path"),
        ("tls://gate:4001?verify=off", "unknown parameter 'verify'"),
        ("tls://gate:4001?ca=/a&ca=/b", "ca stands twice"),
        ("tls://gate:4001?ca=", "no usable value"),
        ("tls://gate:4001?key=/k", "a key without a certificate"),
    ],
)
def test_a_url_that_is_not_as_it_must_be_is_refused(url: str, why: str) -> None:
    with pytest.raises(UnknownPort) as caught:
        parse_tls_url(url, {})

    assert why in caught.value.why
    assert "tls://HOST:PORT" in caught.value.hint


def test_what_the_url_leaves_out_comes_from_the_environment() -> None:
    variables = {
        "CRYOFW_TLS_CA": "/env/ca",
        "CRYOFW_TLS_CERT": "/env/cert",
        "CRYOFW_TLS_KEY": "/env/key",
    }

    assert parse_tls_url("tls://[fe80::1]:4001?name=gate.lab", variables) == TlsPort(
        "tls://[fe80::1]:4001",
        "fe80::1",
        4001,
        Path("/env/ca"),
        Path("/env/cert"),
        Path("/env/key"),
        "gate.lab",
    )
    own = parse_tls_url("tls://gate:4001?ca=/own%20ca&cert=/own", variables)
    assert (own.ca, own.cert, own.key) == (Path("/own ca"), Path("/own"), None)


def test_one_gateway_port_is_one_lock_whatever_is_spoken() -> None:
    assert port_keys("tls://GATE:4001?ca=/x") == port_keys("socket://gate:4001")


@pytest.mark.parametrize(
    "spelling", ["SSLV3_ALERT_CERTIFICATE_EXPIRED", "ssl/tls alert certificate expired"]
)
def test_an_alert_is_known_however_it_is_spelled(spelling: str) -> None:
    error = ssl.SSLError(1, f"[SSL] {spelling}")
    error.reason = spelling

    told = tls_error(error, parse_tls_url("tls://gate:4001", {}))

    assert type(told) is ChannelUntrusted
    assert "our certificate has expired" in told.why
