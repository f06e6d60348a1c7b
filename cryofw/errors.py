"""The one tree of errors: what happened, why, and the next step.

Every error that a user can meet is a `CryofwError`. Each branch has one documented exit code
(docs/operating.md); `cli.main` is the only place that turns an error into an exit.
A room derives its own errors from the branch that fits, so that a caller can tell them apart.
"""

from __future__ import annotations

from typing import ClassVar


class CryofwError(Exception):
    """Something cryofw can explain.

    Args:
        what: what happened, one sentence without a full stop.
        why: the cause, with numbers, names and places; may span lines (a caret under a column).
        hint: the next step a person can take.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


class UsageError(CryofwError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class BadInput(CryofwError):
    """A file is not what it should be: an image, fleet.yaml, a keyring, a plan."""

    exit_code = 3


class VerificationFailed(CryofwError):
    """A signature, a hash or the journal does not verify."""

    exit_code = 4


class Refused(CryofwError):
    """A gate, a guard, a lock or a missing approval forbids it; nothing was done."""

    exit_code = 5


class RolledBack(CryofwError):
    """The rollout failed and every device is back on its last good firmware."""

    exit_code = 6


class DeviceStuck(CryofwError):
    """A device is stuck or a rollback failed: a person has to act."""

    exit_code = 7


class Unreachable(CryofwError):
    """A device, port or source did not answer."""

    exit_code = 69


class Paused(CryofwError):
    """The rollout waits: for an approval, for samples, for a person; `resume` continues it."""

    exit_code = 75


class Interrupted(CryofwError):
    """Stopped by a signal; the state is on disk and `resume` continues it."""

    exit_code = 130
