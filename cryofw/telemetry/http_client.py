"""HTTP GET with a bearer token: bounded in time and size, never to another host.

urllib blocks, so a request runs in a thread of its own. The thread is a daemon: a server that
drips its answer byte by byte cannot keep the process alive.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from cryofw.errors import BadInput
from cryofw.telemetry.errors import (
    AccessDenied,
    AnswerUnusable,
    RedirectRefused,
    SourceTimeout,
    SourceUnavailable,
)
from cryofw.telemetry.thread import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

MAX_ANSWER_BYTES = 32 << 20
_CHUNK = 64 << 10
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Answer:
    """Status, body and content type of an HTTP answer."""

    status: int
    body: bytes
    content_type: str


def read_token(name: str, environ: Mapping[str, str]) -> str:
    """The bearer token in the environment variable `name`.

    Raises:
        AccessDenied: it is not set, or cannot be a token.
    """
    token = environ.get(name, "").strip()
    if not token:
        hint = f"export {name}=..., or take `token_env` out of fleet.yaml"
        raise AccessDenied(f"the token for Prometheus is missing: {name} is not set", hint=hint)
    if not all("!" <= char <= "~" for char in token):
        hint = "a token is one word of ASCII letters, digits and punctuation"
        raise AccessDenied(f"{name} does not hold a bearer token", hint=hint)
    return token


class HttpClient:
    """Gets documents from one server.

    Args:
        base_url: http or https; paths are added to it.
        token: bearer token, or None.
        ca: PEM file with the only authorities to trust, or None for the system's.
        timeout_s: for one request, from the connection to the last byte.
        max_bytes: a longer answer is refused.

    Raises:
        BadInput: `ca` cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        ca: str | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        handlers: list[urllib.request.BaseHandler] = [_SameOrigin()]
        parts = urlsplit(base_url)
        self.server = parts.netloc
        if parts.hostname in _LOOPBACK:
            # A proxy of the environment is for what lies outside of this computer.
            handlers.append(urllib.request.ProxyHandler({}))
        if parts.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=_tls(ca)))
        self._opener = urllib.request.build_opener(*handlers)

    async def get(self, path: str, query: str = "") -> Answer:
        """The answer to GET `path`, whatever its status, 401, 403 and 5xx aside.

        Raises:
            SourceUnavailable: refused, lost, no such host, TLS failed, or status 429 or 5xx.
            SourceTimeout: not answered within the timeout.
            AccessDenied: status 401 or 403.
            RedirectRefused: it redirects to another host or to less security.
            AnswerUnusable: not HTTP, or longer than the limit.
        """
        url = f"{self._base_url}{path}{'?' if query else ''}{query}"
        stop = threading.Event()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await in_thread(lambda: self._get(url, stop))
        except TimeoutError:
            raise self._timed_out() from None
        finally:
            stop.set()
        if answer.status in {401, 403}:
            raise self._denied(answer.status)
        if answer.status == 429 or answer.status >= 500:
            why = f"HTTP {answer.status} {http.client.responses.get(answer.status, '')}: "
            why += _shown(answer.body) or "no text"
            raise SourceUnavailable(f"{self.server} cannot answer now", why=why)
        return answer

    def _get(self, url: str, stop: threading.Event) -> Answer:
        """Runs in the thread."""
        # fleet.yaml's loader lets no other scheme through than http and https.
        request = urllib.request.Request(url, headers=self._headers())  # noqa: S310
        try:
            try:
                response = self._opener.open(request, timeout=self._timeout_s)
            except urllib.error.HTTPError as error:
                with error:
                    return Answer(error.code, self._body(error, stop), _kind(error.headers))
            with response:
                kind = _kind(response.headers)
                return Answer(response.status, self._body(response, stop), kind)
        except RedirectRefused:
            raise
        except TimeoutError:
            raise self._timed_out() from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._timed_out() from None
            raise self._unreachable(error.reason) from None
        except http.client.HTTPException as error:
            what = f"{self.server} does not speak HTTP as it should"
            raise AnswerUnusable(what, why=f"{type(error).__name__}: {error}") from None
        except (OSError, UnicodeError) as error:  # a host name that is none is a UnicodeError
            raise self._unreachable(error) from None

    def _body(self, response: IO[bytes], stop: threading.Event) -> bytes:
        body = bytearray()
        while not stop.is_set() and (piece := response.read(_CHUNK)):
            body += piece
            if len(body) > self._max_bytes:
                why = f"more than {self._max_bytes:,} bytes"
                hint = "ask for a shorter time or for fewer series"
                raise AnswerUnusable(f"the answer of {self.server} is too long", why=why, hint=hint)
        return bytes(body)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "cryofw"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _timed_out(self) -> SourceTimeout:
        what = f"{self.server} did not answer in time"
        return SourceTimeout(what, why=f"nothing whole within {self._timeout_s:g} s")

    def _unreachable(self, reason: object) -> SourceUnavailable:
        what = f"{self.server} cannot be reached"
        if isinstance(reason, ssl.SSLCertVerificationError):
            hint = "name the lab's CA as `ca` under telemetry.prometheus, or repair its certificate"
            return SourceUnavailable(what, why=reason.verify_message, hint=hint)
        if isinstance(reason, OSError) and reason.strerror:
            reason = reason.strerror
        return SourceUnavailable(what, why=str(reason), hint="is it running? is the url right?")

    def _denied(self, status: int) -> AccessDenied:
        if self._token is None:
            hint = "set `token_env` under telemetry.prometheus"
        else:
            hint = "the token of the environment is wrong, expired, or may not read this"
        why = f"HTTP {status} {http.client.responses[status]}"
        return AccessDenied(f"{self.server} refuses to answer us", why=why, hint=hint)


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only within the same scheme, host and port."""

    def redirect_request(  # urllib's own signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Called by urllib for each redirect."""
        before, after = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if _origin(before.geturl()) != _origin(after.geturl()):
            fp.close()
            raise RedirectRefused(
                f"{before.netloc} redirects to another server",
                why=f"HTTP {code} to {after.scheme}://{after.netloc}",
                hint="if that is right, write its URL into fleet.yaml",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _tls(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        why = f"{ca}: {error.strerror or error}"
        hint = "`ca` under telemetry.prometheus names a file of PEM certificates"
        raise BadInput("the lab's CA cannot be read", why=why, hint=hint) from None


def _kind(headers: Message) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _shown(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
