"""The audit: reads the journal, proves it, and tells it.

`verify_log` holds a journal against its checkpoints to the byte, then against a table of rules that
are the design's invariants, then against plans, raw readings and images beside it. `prove_device`
and `verify_device_proof` prove to others what one device runs; a `WitnessMemory` is somebody else
who remembers how far the journal was.

Names are imported from their module when they are first used: to show a journal needs no proofs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryofw.audit.approval_evidence import ApprovalEvidence
    from cryofw.audit.check import Check
    from cryofw.audit.device_claim import DeviceClaim, verify_device_proof
    from cryofw.audit.device_proof import attest_device, prove_device
    from cryofw.audit.export import Exported, export_log
    from cryofw.audit.image_evidence import ImageEvidence
    from cryofw.audit.signatures import Cosignature, SignatureMissing, SignatureReport
    from cryofw.audit.story import Filter, StoryLine, kinds_told, tell
    from cryofw.audit.trust import LogTrust
    from cryofw.audit.verdict_evidence import VerdictEvidence
    from cryofw.audit.verification import (
        AuditFailed,
        AuditReport,
        Violation,
        find_violations,
        verify_log,
    )
    from cryofw.audit.witness import (
        WitnessMemory,
        WitnessRefused,
        accept_cosigned,
        make_request,
        require_signed,
    )

__all__ = [
    "ApprovalEvidence",
    "AuditFailed",
    "AuditReport",
    "Check",
    "Cosignature",
    "DeviceClaim",
    "Exported",
    "Filter",
    "ImageEvidence",
    "LogTrust",
    "SignatureMissing",
    "SignatureReport",
    "StoryLine",
    "VerdictEvidence",
    "Violation",
    "WitnessMemory",
    "WitnessRefused",
    "accept_cosigned",
    "attest_device",
    "export_log",
    "find_violations",
    "kinds_told",
    "make_request",
    "prove_device",
    "require_signed",
    "tell",
    "verify_device_proof",
    "verify_log",
]

_MODULES = {
    "ApprovalEvidence": "approval_evidence",
    "AuditFailed": "verification",
    "AuditReport": "verification",
    "Check": "check",
    "Cosignature": "signatures",
    "DeviceClaim": "device_claim",
    "Exported": "export",
    "Filter": "story",
    "ImageEvidence": "image_evidence",
    "LogTrust": "trust",
    "SignatureMissing": "signatures",
    "SignatureReport": "signatures",
    "StoryLine": "story",
    "VerdictEvidence": "verdict_evidence",
    "Violation": "verification",
    "WitnessMemory": "witness",
    "WitnessRefused": "witness",
    "accept_cosigned": "witness",
    "attest_device": "device_proof",
    "export_log": "export",
    "find_violations": "verification",
    "kinds_told": "story",
    "make_request": "witness",
    "prove_device": "device_proof",
    "require_signed": "witness",
    "tell": "story",
    "verify_device_proof": "device_claim",
    "verify_log": "verification",
}


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
