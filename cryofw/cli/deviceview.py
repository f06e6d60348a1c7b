"""One device of a rollout: how far it is, the numbers it was decided on, and why it went back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.audit.device_words import last_words
from cryofw.cli.evidenceview import show_numbers
from cryofw.cli.rolloutview import VersionNames, show_line, state_json, status_of
from cryofw.cli.suggestion import did_you_mean
from cryofw.errors import BadInput
from cryofw.rollout import evidence_story
from cryofw.rollout.record import step_from_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.cli.output import Output
    from cryofw.journal import Record, Storage
    from cryofw.rollout import RolloutState


def show_device(
    output: Output,
    state: RolloutState,
    records: Iterable[Record],
    device: str,
    storage: Storage,
    *,
    as_json: bool,
) -> None:
    """What was measured on `device` in this rollout, what came of it, and why.

    Raises:
        BadInput: the rollout has no such device.
    """
    progress = state.devices.get(device)
    if progress is None:
        raise BadInput(
            f"rollout {state.plan.rollout} has no device {device!r}",
            hint=did_you_mean(device, list(state.devices)),
        )
    told = [r for r in records if r.rollout == state.plan.rollout and _is_about(r, device)]
    if as_json:
        devices = state_json(state)["devices"]
        assert isinstance(devices, dict)
        evidence = [{"t": r.t, "kind": r.kind, **r.fields} for r in told]
        output.json({"device": device, **devices[device], "records": evidence})
        return
    names = VersionNames(state.plan)
    output.line(
        f"{output.mark(status_of(progress.state), device)}  {progress.state.value}, "
        f"runs {names(progress.known_hash)}, {state.plan.rollout}"
    )
    if not any(record.kind in evidence_story.KINDS for record in told):
        output.line("  nothing was measured on it in this rollout")
    for record in told:
        output.line()
        step = step_from_record(record)
        assert step is not None
        show_line(output, record, step, names, len(device))
        if record.kind != "cohort-frozen":  # its line says all of it
            metrics = progress.planned.evidence.metrics
            show_numbers(output, record.kind, record.fields, metrics=metrics)
        for line in last_words(storage, record, _WORDS):
            output.line(f"    | {line}")


_WORDS = 12
"""Lines that a device had printed, shown below what failed; its file has more."""

_REASONS = frozenset({
    "device-refused", "device-unreachable", "upload-failed", "device-reverted", "confirm-refused",
    "retry-granted", "common-cause-found", "hold-expired", "failure-spread", "device-abandoned",
    "device-rollback-requested", "device-rolled-back", "device-stuck", "device-quarantined",
    "device-accepted", "calibration-failed", "coefficients-failed",
})  # fmt: skip
"""Kinds that say why a device is not where it was to be: a hang reaches no verdict."""


def _is_about(record: Record, device: str) -> bool:
    if record.kind not in evidence_story.KINDS:
        return record.device == device and record.kind in _REASONS
    devices = record.fields.get("devices")
    return record.device == device or (isinstance(devices, list) and device in devices)
