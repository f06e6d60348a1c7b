"""Trust in people: policies, statements, and the ssh signatures and job tokens behind them.

Pure: nothing here reads a clock, a file or an agent. The signatures are OpenSSH's (`ssh-keygen -Y
sign`), so people keep the keys and FIDO tokens that they have.

Names are imported from their module when they are first used: without a policy nothing is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.trust.act import Expected, Proof, ProvenAct, prove_act, require_role
    from cryofw.trust.errors import ActRefused, PolicyError, SignatureInvalid, SshFormatError
    from cryofw.trust.job_identity import verify_job_token
    from cryofw.trust.policy import Policy, Touch, revocation_of
    from cryofw.trust.policy_file import parse_policy, policy_json_schema
    from cryofw.trust.ssh_certificate import SshCertificate, is_certificate, parse_certificate
    from cryofw.trust.ssh_key import SshKey, parse_key, parse_key_line
    from cryofw.trust.sshsig import SshSignature, parse_signature
    from cryofw.trust.statement import (
        ACT_NAMESPACE,
        APPROVAL_NAMESPACE,
        Role,
        SeenHead,
        Statement,
        parse_statement,
        time_text,
    )

__all__ = [
    "ACT_NAMESPACE",
    "APPROVAL_NAMESPACE",
    "ActRefused",
    "Expected",
    "Policy",
    "PolicyError",
    "Proof",
    "ProvenAct",
    "Role",
    "SeenHead",
    "SignatureInvalid",
    "SshCertificate",
    "SshFormatError",
    "SshKey",
    "SshSignature",
    "Statement",
    "Touch",
    "is_certificate",
    "parse_certificate",
    "parse_key",
    "parse_key_line",
    "parse_policy",
    "parse_signature",
    "parse_statement",
    "policy_json_schema",
    "prove_act",
    "require_role",
    "revocation_of",
    "time_text",
    "verify_job_token",
]

_MODULES = {
    "act": ("Expected", "Proof", "ProvenAct", "prove_act", "require_role"),
    "errors": ("ActRefused", "PolicyError", "SignatureInvalid", "SshFormatError"),
    "job_identity": ("verify_job_token",),
    "policy": ("Policy", "Touch", "revocation_of"),
    "policy_file": ("parse_policy", "policy_json_schema"),
    "ssh_certificate": ("SshCertificate", "is_certificate", "parse_certificate"),
    "ssh_key": ("SshKey", "parse_key", "parse_key_line"),
    "sshsig": ("SshSignature", "parse_signature"),
    "statement": (
        "ACT_NAMESPACE", "APPROVAL_NAMESPACE", "Role", "SeenHead", "Statement", "parse_statement",
        "time_text",
    ),
}  # fmt: skip
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
