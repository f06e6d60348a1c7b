"""How a source of readings can fail."""

from __future__ import annotations

from cryofw.errors import BadInput, CryofwError, Refused, Unreachable


class SourceUnavailable(Unreachable):
    """Nobody answered, or the server could not just now: worth another try."""


class SourceTimeout(SourceUnavailable):
    """No whole answer came in time."""


class AnswerUnusable(Unreachable):
    """An answer came that is none: no JSON, cut off, too long, or of another server's kind."""


class AccessDenied(Refused):
    """The server wants other credentials, or the token of the environment is not there."""


class RedirectRefused(Refused):
    """The server sends us to another host; a token must not follow."""


class QueryRejected(BadInput):
    """The server does not understand the query; `why` shows it with a caret."""


class SeveralSeries(BadInput):
    """A query gives several series where one is needed."""


class NoSeries(Unreachable):
    """A query gives no series where one is needed."""


class CommandFailed(Unreachable):
    """A command of the lab could not be run, failed, or printed no JSON."""


SOURCE_ERRORS: tuple[type[CryofwError], ...] = (
    Unreachable,
    AccessDenied,
    RedirectRefused,
    QueryRejected,
    SeveralSeries,
)
"""What reading a source can raise, for `except`."""
