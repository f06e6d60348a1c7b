"""The audit: reads the journal, proves it, and tells it.

`verify_log` holds a journal against its checkpoint to the byte, then against a table of rules that
are the design's invariants, then against the plans and raw readings beside it.
"""

from cryofw.audit.story import Filter, StoryLine, tell
from cryofw.audit.verification import (
    AuditFailed,
    AuditReport,
    Violation,
    find_violations,
    verify_log,
)

__all__ = [
    "AuditFailed",
    "AuditReport",
    "Filter",
    "StoryLine",
    "Violation",
    "find_violations",
    "tell",
    "verify_log",
]
