"""Whether firmware and coefficients went and came back as a pair, as far as the records tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.journal import Record
    from cryofw.rollout import PlannedDevice

READ = "coefficients-read-requested"
APPLY = "coefficients-apply-requested"
SAVE = "coefficients-save-requested"
RESTORE = "coefficients-restore-requested"

OUTCOMES_OF_PAIRS: Mapping[str, frozenset[str]] = {
    "coefficients-read": frozenset({READ}),
    "coefficients-applied": frozenset({APPLY}),
    "coefficients-saved": frozenset({SAVE}),
    "coefficients-restored": frozenset({RESTORE}),
    "coefficients-deferred": frozenset({APPLY, SAVE}),
    "coefficients-failed": frozenset({READ, APPLY, SAVE}),
}


@dataclass(slots=True)
class PairLedger:
    """The coefficients of one device in one rollout.

    Attributes:
        before: hex by name as first read; None: not read.
        applied: the image on trial has the release's.
        saved: the confirmed image keeps them.
        apply_asked: they were to be given to it.
        save_asked: they were to be kept.
    """

    before: Mapping[str, object] | None = None
    applied: bool = False
    saved: bool = False
    apply_asked: bool = False
    save_asked: bool = False

    def take(self, record: Record) -> None:
        """Fold one record of this device."""
        match record.kind:
            case "coefficients-read":
                found = record.fields.get("values")
                self.before = found if isinstance(found, dict) else {}
            case "test-booted":
                self.applied = False
            case "coefficients-applied":
                self.applied = True
            case "coefficients-saved":
                self.saved = True
            case "device-rolled-back" | "coefficients-restored":
                self.applied = self.saved = self.apply_asked = self.save_asked = False
            case _:
                self.apply_asked = self.apply_asked or record.kind == APPLY
                self.save_asked = self.save_asked or record.kind == SAVE

    def kept(self, planned: PlannedDevice | None) -> bool:
        """Something of the release's may have outlived a reset."""
        by_command = planned is not None and bool(planned.coefficient_command)
        return self.save_asked or (by_command and self.apply_asked)

    def torn(self, planned: PlannedDevice | None, stands: str) -> str:
        """How the pair is torn with the device standing so; empty if it is whole."""
        if planned is None or not planned.coefficients:
            return ""
        if stands == "confirmed" and not self.saved:
            return "without keeping its coefficients"
        if stands == "self-reverted" and self.kept(planned):
            return "without its old coefficients"
        return ""
