"""Where releases come from: a directory, an HTTPS server, or a bundle that was carried in.

None of them is trusted; all of them are bounded: the TUF client says how long a file may be, and
a server that drips or sends for ever is left. Names are those of the repository, such as
`metadata/timestamp.json`.
"""

from __future__ import annotations

import http.client
import io
import os
import ssl
import stat
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from cryofw import __version__
from cryofw.release.errors import (
    ReleaseInvalid,
    ReleaseRefused,
    RepositoryUnusable,
    SourceUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 64 << 10
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NOT_FOUND = 404
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class DirectoryFetcher(FetcherInterface):
    """Reads regular files below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._directory.joinpath(*_parts(url))
        try:
            # Not to wait for ever for the writer of a named pipe.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DownloadHTTPError(f"{url} is missing", _NOT_FOUND) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ReleaseInvalid(
                    f"{path} is no regular file",
                    hint="a repository is made of files; nothing of it was used",
                )
            while chunk := os.read(descriptor, _CHUNK):
                yield chunk
        except OSError as error:
            raise _unreadable(path, error) from error
        finally:
            os.close(descriptor)


class BundleFetcher(FetcherInterface):
    """Reads entries of a bundle; nothing is unpacked, so no entry's name is a path here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise _unreadable(path, error) from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise RepositoryUnusable(
                f"{path} is no bundle of releases",
                why=str(error),
                hint="`cryofw release bundle` makes one",
            ) from error

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = "/".join(_parts(url))
        try:
            with self._zip.open(name) as entry:
                while chunk := entry.read(_CHUNK):
                    yield chunk
        except KeyError as error:
            raise DownloadHTTPError(f"{name} is missing", _NOT_FOUND) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise ReleaseInvalid(
                f"the bundle {self._path} is damaged",
                why=f"{name}: {error}",
                hint="copy it again and compare its SHA-256 with the publisher's",
            ) from error


class HttpFetcher(FetcherInterface):
    """Gets files over https; plain http only from this computer.

    Args:
        base_url: what names are added to.
        timeout_s: for the connection, and for each silence in between.
        deadline_s: for one whole file.
        attempts: how often a server that fails is asked.
        sleep: waits between attempts.
        monotonic: seconds since an arbitrary start.

    Raises:
        ReleaseRefused: another scheme, or http to another computer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float = 10.0,
        deadline_s: float = 300.0,
        attempts: int = 3,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(base_url)
        handlers: list[urllib.request.BaseHandler] = [_SameOrigin()]
        if parts.hostname in _LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        elif parts.scheme != "https":
            raise ReleaseRefused(
                f"cannot take releases from {base_url}",
                why="only https: is taken from another computer",
                hint="serve the repository over https, or carry in a bundle",
            )
        self._base = base_url.rstrip("/")
        self._server = parts.netloc
        self._timeout_s, self._deadline_s = timeout_s, deadline_s
        self._attempts, self._sleep, self._monotonic = attempts, sleep, monotonic
        self._opener = urllib.request.build_opener(*handlers)

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """See `FetcherInterface`; a server that fails is asked again, after a while."""
        attempts = Retrying(
            retry=retry_if_exception_type(SourceUnreachable),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=0.5, max=5),
            sleep=self._sleep,
            reraise=True,
        )
        yield io.BytesIO(attempts(self._once, url, max_length))

    def _once(self, url: str, max_length: int) -> bytes:
        with super().download_file(url, max_length) as file:
            data: bytes = file.read()
            return data

    def _fetch(self, url: str) -> Iterator[bytes]:
        full = f"{self._base}/{quote('/'.join(_parts(url)), safe='/%+')}"
        until = self._monotonic() + self._deadline_s
        # The constructor let no other scheme through than https, and http to this computer.
        request = urllib.request.Request(full, headers={"User-Agent": f"cryofw/{__version__}"})  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                # Not `read`: it waits for a whole chunk, however slowly that comes.
                while chunk := response.read1(_CHUNK):
                    yield chunk
                    if self._monotonic() > until:
                        raise self._unreachable(f"{url} took more than {self._deadline_s:g} s")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == _TOO_MANY_REQUESTS or error.code >= _SERVER_ERROR:
                    raise self._unreachable(f"HTTP {error.code} for {url}") from error
                raise DownloadHTTPError(f"HTTP {error.code} for {url}", error.code) from error
        except (urllib.error.URLError, OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ssl.SSLCertVerificationError):
                hint = "a lab's own authority is named by SSL_CERT_FILE; or use a bundle"
                raise self._unreachable(reason.verify_message, hint) from error
            raise self._unreachable(f"{url}: {reason}") from error

    def _unreachable(
        self, why: str, hint: str = "is it up? else use a bundle: `--repo FILE`"
    ) -> SourceUnreachable:
        return SourceUnreachable(f"{self._server} does not give its releases", why=why, hint=hint)


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
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            fp.close()
            raise ReleaseRefused(
                f"{before.netloc} redirects to another server",
                why=f"HTTP {code} to {after.scheme}://{after.netloc}",
                hint="if that is right, give that address with --repo",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_source(text: str) -> FetcherInterface:
    """A fetcher for a directory, an address or a bundle file.

    Raises:
        RepositoryUnusable: it is none of them.
        ReleaseRefused: an address that is not of https.
    """
    if "://" in text:
        return HttpFetcher(text)
    path = Path(text)
    if path.is_dir():
        return DirectoryFetcher(path)
    if path.is_file():
        return BundleFetcher(path)
    raise RepositoryUnusable(
        f"there are no releases at {text}",
        why="it is no directory, no bundle and no https address",
    )


def _parts(name: str) -> tuple[str, ...]:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise ReleaseInvalid(
            f"{name[:80]!r} is no name in a release repository",
            why="it leads out of it",
            hint="tell whoever publishes there; nothing of it was used",
        )
    return parts


def _unreadable(path: Path, error: OSError) -> RepositoryUnusable:
    return RepositoryUnusable(f"cannot read {path}", why=error.strerror or str(error))
