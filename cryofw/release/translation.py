"""What python-tuf says, in words that a person in a lab can act on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError

from cryofw.errors import BadInput
from cryofw.release.errors import (
    MetadataExpired,
    ReleaseInvalid,
    RepositoryUnusable,
    SourceUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryofw.errors import CryofwError

_PLAIN = (
    (r"(\S+) was signed by (\d+)/(\d+) keys", r"\1 has \2 of the \3 signatures that it needs"),
    (r"New (\w+) version (\d+) must be >= (\d+)", r"\1 \2 is offered, this host has seen \3"),
    (
        r"New (\w+) version must be >= (\d+), got version (\d+)",
        r"\1 \3 is offered, this host has seen \2",
    ),
    # Of a file that snapshot names; python-tuf says it the other way round.
    (
        r"Expected (\S+)\.json version (\d+), got (\d+)\.",
        r"\1 \2 is offered, this host has seen \3",
    ),
    (r"New snapshot is missing info for '(.+)\.json'", r"it leaves out \1, which was there before"),
    (r"Observed (\w+) (\w+) does not match expected \w+ (\w+)", r"its \1 is \2, not \3"),
    (
        r"Downloaded (\d+) bytes exceeding the maximum allowed length of (\d+)",
        r"more than \2 bytes",
    ),
)
"""What python-tuf says, and how a person would."""

_TELL = "tell whoever publishes there by another way; nothing of it was used"


@contextmanager
def translated(source: str, file: str = "") -> Iterator[None]:
    """Turn every error of the TUF client into one of ours.

    Args:
        source: what people call the repository.
        file: the file that is read, if it is one that people know.

    Raises:
        MetadataExpired: without the roles; the caller knows them.
        ReleaseInvalid, RepositoryUnusable, SourceUnreachable: else.
    """
    try:
        yield
    except RepositoryError as error:
        raise _of_repository(source, file, error) from error
    except DownloadError as error:
        raise _of_download(source, file, error) from error
    except (ValueError, RecursionError) as error:
        raise _malformed(source, error) from error
    except OSError as error:
        why = f"{error.filename or ''} {error.strerror or error}".strip()
        raise BadInput("cannot keep the release metadata", why=why) from error


def _of_repository(source: str, file: str, error: RepositoryError) -> CryofwError:
    match error:
        case ExpiredMetadataError():
            return MetadataExpired(source, {})
        case UnsignedMetadataError():
            return ReleaseInvalid(
                f"the metadata of {source} is not signed by the keys that this host trusts",
                why=_plain(error),
                hint="is it the repository of the pinned root? see `cryofw release status`; "
                + _TELL,
            )
        case BadVersionNumberError():
            return ReleaseInvalid(
                f"{source} was rolled back or mixed: it offers another version than it must",
                why=_plain(error),
                hint="an old copy or an old bundle? get a fresh one; " + _TELL,
            )
        case LengthOrHashMismatchError():
            return ReleaseInvalid(
                f"{file or 'a file'} of {source} is not the one that its signed metadata names",
                why=_plain(error),
                hint="a damaged copy, or somebody changed it; " + _TELL,
            )
        case DeserializationError():
            return _malformed(source, error)
        case _:
            return ReleaseInvalid(
                f"the metadata of {source} does not hold together", why=_plain(error), hint=_TELL
            )


def _plain(error: Exception) -> str:
    text = str(error)
    for found, words in _PLAIN:
        if match := re.fullmatch(found, text):
            return match.expand(words)
    return text


def _malformed(source: str, error: Exception) -> ReleaseInvalid:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause) or type(cause).__name__
    if "threshold" in text:
        text = f"a role that no key needs to sign ({text})"
    elif "Nonunique keyids" in text:
        text = "a role counts one key twice"
    elif "Multiple signatures" in text:
        text = "one key has more than one signature in it"
    return ReleaseInvalid(
        f"the metadata of {source} is malformed, or made to be misread", why=text[:300], hint=_TELL
    )


def _of_download(source: str, file: str, error: DownloadError) -> CryofwError:
    match error:
        case DownloadLengthMismatchError():
            return ReleaseInvalid(
                f"{source} sends more data than {file or 'a file of it'} may have",
                why=_plain(error),
                hint=_TELL,
            )
        case DownloadHTTPError():
            if "timestamp.json" in str(error):
                return RepositoryUnusable(
                    f"there is no release repository at {source}",
                    why=_plain(error),
                    hint="name the folder above `metadata` and `targets`",
                )
            return ReleaseInvalid(
                f"{source} lacks {file or 'a file'}, which its metadata names",
                why=_plain(error),
                hint=_TELL,
            )
        case _:
            return SourceUnreachable(f"{source} does not give its releases", why=_plain(error))
