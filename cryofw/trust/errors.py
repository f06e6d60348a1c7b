"""What can be wrong with a policy, a signature or the person behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.errors import BadInput, Refused, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryofw.fleet.finding import Finding


class PolicyError(BadInput):
    """A policy cannot be used; `findings` holds every defect, in the file's order."""

    def __init__(self, file_name: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        count = len(self.findings)
        super().__init__(
            f"{file_name} has {'an error' if count == 1 else f'{count} errors'}",
            why="\n".join(finding.render(file_name) for finding in self.findings),
            hint="`cryofw schema policy` prints what may stand in the file",
        )


class SshFormatError(BadInput):
    """A public key, a certificate or a signature is not in the form that OpenSSH writes."""


class SignatureInvalid(VerificationFailed):
    """A signature, or what vouches for its key, does not verify."""


class ActRefused(Refused):
    """The signature is right, and the policy does not let this person do that."""
