"""A verdict and the evidence that carries it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(StrEnum):
    """What the evidence says; there is no fourth answer."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, one sentence for an engineer, and the numbers behind it (plain JSON)."""

    outcome: Outcome
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
