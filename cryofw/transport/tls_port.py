"""`tls://HOST:PORT` URLs: an encrypted line to a gateway, and the certificates it needs.

    tls://gate.lab:4001?ca=/etc/cryofw/ca.pem&cert=/etc/cryofw/host.pem&key=/etc/cryofw/host.key

`ca` is the one authority that the gateway's certificate must come from; there is no fall-back to
the system's list, which trusts hundreds. `cert` and `key` are this host's own; `name` is the name
in the gateway's certificate, if it is another than HOST. What a URL leaves out comes from
CRYOFW_TLS_CA, CRYOFW_TLS_CERT and CRYOFW_TLS_KEY, so that a fleet.yaml of several hosts need not
know where each of them keeps its files.
"""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cryofw.transport.stream import ChannelUntrusted, UnknownPort

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORM = "the form is tls://HOST:PORT?ca=FILE&cert=FILE&key=FILE&name=NAME; all files absolute"
_FILES = ("ca", "cert", "key")


@dataclass(frozen=True)
class TlsPort:
    """Where the gateway is, what its certificate must say, and what ours is."""

    url: str
    host: str
    port: int
    ca: Path | None
    cert: Path | None
    key: Path | None
    name: str

    def context(self) -> ssl.SSLContext:
        """Return what the handshake goes by: TLS 1.2 at least, chain and name checked.

        Raises:
            ChannelUntrusted: no authority is named, or a file cannot be used.
        """
        if self.ca is None:
            raise ChannelUntrusted(
                f"nothing says whose certificate {self.url} must have",
                why="an encrypted line to nobody knows whom protects nothing",
                hint="add ?ca=FILE to the port, or set CRYOFW_TLS_CA: the PEM of the authority "
                "(or of the gateway itself, if it signed its own)",
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(cafile=self.ca)
        except OSError as error:  # SSLError is one
            raise _unusable(self.url, "authority", self.ca, error) from error
        if self.cert is not None:
            self._load_own(context, self.cert)
        return context

    def _load_own(self, context: ssl.SSLContext, cert: Path) -> None:
        holder = self.key or cert
        passphrase = os.environ.get("CRYOFW_TLS_PASSPHRASE", "")
        try:
            mode = holder.stat().st_mode
            if mode & 0o077:
                raise ChannelUntrusted(
                    f"the client key {holder} is open to others",
                    why=f"its mode is {stat.S_IMODE(mode):04o}, expected 0600",
                    hint=f"run `chmod 600 {holder}`; if others may have read it, replace it",
                )
            # Always a password: without one, OpenSSL would ask at the terminal.
            context.load_cert_chain(cert, self.key, password=passphrase)
        except OSError as error:
            raise _unusable(self.url, "client certificate or key", holder, error) from error


def parse_tls_url(url: str, environ: Mapping[str, str] | None = None) -> TlsPort:
    """Read a `tls://` URL strictly.

    Raises:
        UnknownPort: not such a URL, an unknown or double parameter, or a relative path.
    """
    variables = os.environ if environ is None else environ
    host, port, query = _split(url)
    given = _parameters(url, query)
    files = {name: Path(given[name]) for name in _FILES if name in given}
    for name, path in files.items():
        if not path.is_absolute():
            raise _malformed(url, f"{name} is a relative path, and nothing says from where")
    if "key" in files and "cert" not in files:
        raise _malformed(url, "it has a key without a certificate")
    wanted = ("ca",) if "cert" in files else _FILES
    for name in wanted:
        value = variables.get(f"CRYOFW_TLS_{name.upper()}")
        if value and name not in files:
            files[name] = Path(value).absolute()
    return TlsPort(
        url=f"tls://{_shown(host)}:{port}",
        host=host,
        port=port,
        ca=files.get("ca"),
        cert=files.get("cert"),
        key=files.get("key"),
        name=given.get("name", host),
    )


def _split(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _malformed(url, str(error)) from error
    if not parts.hostname or not port or parts.path.strip("/") or parts.fragment:
        raise _malformed(url, "it has no host, no port, or more than these")
    if parts.username is not None or parts.password is not None:
        raise _malformed(url, "a gateway knows this host by its certificate, not by a password")
    return parts.hostname, port, parts.query


def _parameters(url: str, query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for item in query.split("&") if query else ():
        name, _, raw = item.partition("=")
        value = unquote(raw)
        if name not in (*_FILES, "name"):
            raise _malformed(url, f"unknown parameter {name!r}")
        if name in given:
            raise _malformed(url, f"{name} stands twice")
        if not value or not value.isprintable():
            raise _malformed(url, f"{name} has no usable value")
        given[name] = value
    return given


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _malformed(url: str, why: str) -> UnknownPort:
    return UnknownPort(f"{url} is no usable port", why=why, hint=_FORM)


def _unusable(url: str, what: str, path: Path, error: OSError) -> ChannelUntrusted:
    why = (error.reason or str(error)) if isinstance(error, ssl.SSLError) else error.strerror
    if isinstance(error, ssl.SSLError) and b"ENCRYPTED" in path.read_bytes():
        hint = "the key is encrypted: set CRYOFW_TLS_PASSPHRASE to its passphrase"
    elif isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        hint = "certificate and key do not belong together"
    else:
        hint = "it has to be a PEM file that this user may read"
    return ChannelUntrusted(f"cannot use the {what} {path} for {url}", why=why or "", hint=hint)
