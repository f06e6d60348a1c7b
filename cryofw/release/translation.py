"""What python-tuf says, in words that a person in a lab can act on."""

from __future__ import annotations

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

_TELL = "tell whoever publishes there by another way; nothing of it was used"


@contextmanager
def translated(source: str) -> Iterator[None]:
    """Turn every error of the TUF client into one of ours.

    Raises:
        MetadataExpired: without the roles; the caller knows them.
        ReleaseInvalid, RepositoryUnusable, SourceUnreachable: else.
    """
    try:
        yield
    except RepositoryError as error:
        raise _of_repository(source, error) from error
    except DownloadError as error:
        raise _of_download(source, error) from error
    except (ValueError, RecursionError) as error:
        raise _malformed(source, error) from error
    except OSError as error:
        why = f"{error.filename or ''} {error.strerror or error}".strip()
        raise BadInput("cannot keep the release metadata", why=why) from error


def _of_repository(source: str, error: RepositoryError) -> CryofwError:
    match error:
        case ExpiredMetadataError():
            return MetadataExpired(source, {})
        case UnsignedMetadataError():
            return ReleaseInvalid(
                f"the metadata of {source} is not signed by the keys that this host trusts",
                why=str(error),
                hint="is it the repository of the pinned root? see `cryofw release status`; "
                + _TELL,
            )
        case BadVersionNumberError():
            return ReleaseInvalid(
                f"{source} was rolled back or mixed: it offers another version than it must",
                why=str(error),
                hint="an old copy or an old bundle? get a fresh one; " + _TELL,
            )
        case LengthOrHashMismatchError():
            return ReleaseInvalid(
                f"a file of {source} is not the one that its signed metadata names",
                why=str(error),
                hint="a damaged copy, or somebody changed it; " + _TELL,
            )
        case DeserializationError():
            return _malformed(source, error)
        case _:
            return ReleaseInvalid(
                f"the metadata of {source} does not hold together", why=str(error), hint=_TELL
            )


def _malformed(source: str, error: Exception) -> ReleaseInvalid:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause) or type(cause).__name__
    if "threshold" in text:
        text = f"a role that no key needs to sign ({text})"
    elif "Nonunique keyids" in text:
        text = "a role counts one key twice"
    return ReleaseInvalid(
        f"the metadata of {source} is malformed, or made to be misread", why=text[:300], hint=_TELL
    )


def _of_download(source: str, error: DownloadError) -> CryofwError:
    match error:
        case DownloadLengthMismatchError():
            return ReleaseInvalid(
                f"{source} sends more data than a file of it may have", why=str(error), hint=_TELL
            )
        case DownloadHTTPError():
            if "timestamp.json" in str(error):
                return RepositoryUnusable(
                    f"there is no release repository at {source}",
                    why=str(error),
                    hint="name the folder above `metadata` and `targets`",
                )
            return ReleaseInvalid(
                f"{source} lacks a file that its metadata names", why=str(error), hint=_TELL
            )
        case _:
            return SourceUnreachable(f"{source} does not give its releases", why=str(error))
