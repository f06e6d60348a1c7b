"""How a rollout looks: the plan before it, one line a step during it, the summary after it."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.cli.coefficientview import show_coefficients
from cryofw.cli.evidenceview import show_evidence, show_numbers
from cryofw.cli.foresightview import (
    show_blind_spots,
    show_ledger,
    show_outlook,
    show_stage,
    some,
)
from cryofw.cli.guardview import cryostats_json, show_cryostats, show_guards
from cryofw.cli.output import Output, Status
from cryofw.health import Outcome, in_short
from cryofw.rollout import DeviceState, Plan, RolloutState, Step, story
from cryofw.rollout import events as e
from cryofw.rollout.operator_state import why_not_acceptable

if TYPE_CHECKING:
    from cryofw.journal import Record
    from cryofw.rollout import DeviceProgress
    from cryofw.rollout.foresight import Foresight

_STATUS = {
    story.Tone.GOOD: Status.OK,
    story.Tone.BAD: Status.FAILED,
    story.Tone.WARNING: Status.WARNING,
    story.Tone.ACTIVE: Status.RUNNING,
    story.Tone.QUIET: Status.NOTHING,
}

_STATE_STATUS = {
    DeviceState.CONFIRMED: Status.OK,
    DeviceState.SKIPPED: Status.OK,
    DeviceState.STUCK: Status.FAILED,
    DeviceState.ROLLED_BACK: Status.WARNING,
    DeviceState.SELF_REVERTED: Status.WARNING,
    DeviceState.REFUSED: Status.FAILED,
    DeviceState.UNREACHABLE: Status.WARNING,
    DeviceState.HELD: Status.HELD,
    DeviceState.FROZEN: Status.HELD,
    DeviceState.PENDING: Status.NOTHING,
    DeviceState.CHECKED: Status.NOTHING,
    DeviceState.ABANDONED: Status.WARNING,
}


_WARN_DAYS = 30
"""So long before its end a lab without a network should ask for the next bundle."""

_ON_TRIAL = (DeviceState.WATCHED, DeviceState.HELD, DeviceState.FROZEN)


class VersionNames:
    """Names images by version where the plan knows it."""

    def __init__(self, plan: Plan) -> None:
        self._names = {d.running_hash: d.running_version for d in plan.devices.values()}
        self._names[plan.release.hash] = plan.release.version

    def __call__(self, image_hash: str) -> str:
        """The version, or the beginning of the hash."""
        return self._names.get(image_hash) or image_hash[:12] or "unknown"


def show_plan(output: Output, plan: Plan, foresight: Foresight, *, evidence: bool = False) -> None:
    """What will happen to which device, what of it is seen, and what cannot be undone.

    Args:
        evidence: also the whole ledger, and who is compared with whom.
    """
    release = plan.release
    counter = "none" if release.security_counter is None else str(release.security_counter)
    output.line(f"Plan {plan.rollout} for lab {plan.lab}")
    output.line(f"  release  {release.version}  {release.hash[:16]}  {release.size} bytes")
    if release.compression:
        unpacked = (
            f"{release.unpacked_size} bytes when unpacked; {release.slot_hash[:16]} till then"
        )
        output.line(f"           compressed ({release.compression}), {unpacked}")
    board = release.board or "any: the image does not say, so nobody checks that it fits"
    output.line(f"  counter  {counter}   board {board}")
    if plan.from_versions:
        output.line(f"  from     versions {plan.from_versions}")
    if plan.host_versions:
        output.line(f"  host     cryofw {plan.host_versions}")
    _show_origin(output, plan)
    if plan.policy is not None:
        policy = f"version {plan.policy.version} ({plan.policy.digest[:16]})"
        output.line(f"  policy   {policy}; asked for by {plan.requester}")
    show_outlook(output, plan, foresight)
    output.line()
    for number, stage in enumerate(plan.stages, start=1):
        devices = [plan.devices[name] for name in stage.devices]
        size = f"{_count(len(devices), 'device')} in {_count(len(stage.waves), 'wave')}"
        reach = f"a failure takes back the {stage.on_failure}"
        output.hanging(f"{number}. ", f"{stage.name}: {size}; {reach}", 3)
        running = Counter(d.running_version or "does not answer" for d in devices)
        runs = ", ".join(f"{n} run {v}" for v, n in sorted(running.items()))
        output.hanging("   devices  ", runs, 12)
        output.hanging("   waves    ", " | ".join(map(some, stage.waves)), 12)
        show_stage(output, foresight.stages[number - 1])
        needed = plan.policy.approvals.get(stage.name, 0) if plan.policy else 0
        if needed:
            who = "1 person approves" if needed == 1 else f"{needed} people approve"
            output.line(f"   first    {who}, signed")
        if stage.then_approve and plan.policy is None:
            output.line("   then     a person approves")
    output.line()
    if evidence:
        show_ledger(output, foresight)
    show_coefficients(output, plan)
    show_evidence(output, plan)
    show_guards(output, plan)
    _show_risks(output, plan, foresight)


def _show_origin(output: Output, plan: Plan) -> None:
    origin = plan.origin
    if origin is None:
        return
    output.line(f"  source   {origin.release}, number {origin.number}, from {origin.source}")
    output.line(f"           verified; vouched for until {origin.expires[:10]}")
    days_left = (origin.expiry - datetime.now(UTC)).days
    if 0 <= days_left < _WARN_DAYS:
        what = f"in {days_left} days: ask for fresh metadata or a fresh bundle"
        output.status(Status.WARNING, "expires", what)
    if origin.rolls_back:
        what = f"this release takes back {origin.rolls_back}: devices may get an older version"
        output.status(Status.WARNING, "rollback", what)
    if origin.forgiven:
        what = f"of {', '.join(origin.forgiven)}, accepted by {origin.by}: {origin.why}"
        output.status(Status.WARNING, "expired metadata", what)


def _show_risks(output: Output, plan: Plan, foresight: Foresight) -> None:
    devices = plan.devices.values()
    no_way_back = [d.name for d in devices if d.running_hash and not d.way_back]
    overwrites = [d.name for d in devices if d.running_hash and d.connection.overwrites]
    if overwrites:
        what = (
            "no test boot: the bootloader overwrites the running image; from the boot on only an "
            f"upload brings it back, and nothing if it hangs: {' '.join(overwrites)}"
        )
        output.status(Status.WARNING, "risk", what)
    if not any(d.running_hash for d in devices):
        output.status(Status.WARNING, "risk", "no device answers, so no way back is known")
    elif no_way_back:
        what = f"no way back once confirmed: {' '.join(no_way_back)}"
        output.status(Status.WARNING, "risk", what)
    elif len(overwrites) < len(devices):
        what = (
            "before the confirm a reset reverts; after it the last good image, which is at hand "
            "and verified, is restored on every device"
        )
        output.hanging("Way back ", what, 9)
    foreign = [d.name for d in devices if d.last_good is not None and not d.last_good.key_hash]
    if foreign:
        what = f"back to an adopted foreign image, known by its hash: {' '.join(foreign)}"
        output.status(Status.WARNING, "risk", what)
    no_reset = [d.name for d in devices if not d.connection.has_reset_path]
    if no_reset:
        output.status(Status.WARNING, "risk", f"no reset path: {' '.join(no_reset)}")
    for name, why in plan.excluded.items():
        output.status(Status.WARNING, "left out", f"{name}: {why}")
    silent = [d.name for d in devices if not d.running_hash]
    if silent:
        output.status(Status.WARNING, "silent", f"{' '.join(silent)}: skipped if still so")
    show_blind_spots(output, foresight)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def status_of(state: DeviceState) -> Status:
    """How the state of a device looks."""
    return _STATE_STATUS.get(state, Status.RUNNING)


def show_line(output: Output, record: Record, step: Step, names: VersionNames, width: int) -> None:
    """One step as one line: when, which device, what; folded where a terminal is narrow.

    Args:
        width: of the longest name of a device.
    """
    line = story.tell(step, names)
    mark = output.mark(_STATUS[line.tone], f"{line.word:<12}")
    device = f"{record.device or '':<{width}}"
    column = len(f"{record.t[11:19]}  {device}    {line.word:<12} ")
    output.hanging(f"{record.t[11:19]}  {device}  {mark} ", line.text, column)


class RolloutView:
    """Prints a running rollout: lines that stay, and on a terminal one line that moves."""

    def __init__(self, plan: Plan, *, as_json: bool, verbose: bool = False) -> None:
        self._output = Output()
        self._names = VersionNames(plan)
        self._as_json = as_json
        self._verbose = verbose
        self._moving = ""
        self._width = max((len(name) for name in plan.devices), default=0)

    def record(self, step: Step, record: Record) -> None:
        """One step is on disk."""
        if self._as_json:
            self._output.line(record.line.decode())
            return
        line = story.tell(step, self._names)
        if line.routine and not self._verbose:
            return
        self._wipe()
        if record.kind == "stage-started":
            self._output.line()
        show_line(self._output, record, step, self._names, self._width)
        self._show_numbers(step)

    def _show_numbers(self, step: Step) -> None:
        """Of a verdict that did not pass, what it was reached on."""
        if not isinstance(step, e.VerdictReached):
            return
        if step.outcome != Outcome.PASSED or self._verbose:
            show_numbers(self._output, step.kind, {"evidence": step.evidence}, everything=False)

    def progress(self, device: str, sent: int, total: int) -> None:
        """An upload moved."""
        self._move(f"{device}: {sent} of {total} bytes")

    def watching(self, state: RolloutState) -> None:
        """A heartbeat came in."""
        if not self._output.cursor or self._as_json:
            return
        soaking = [
            p.watch.heartbeats.soaked_s / p.planned.evidence.soak_s
            for p in state.devices.values()
            if p.state is DeviceState.WATCHED
        ]
        stage = state.stage.name if state.stage else ""
        counts = Counter(p.state.value for p in state.devices.values())
        words = ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))
        soak = f"soak {100 * min(*soaking, 1):3.0f} %" if soaking else "baseline"
        blocked = [n for n, guard in state.guards.items() if guard.frozen or guard.held_out]
        if blocked:
            soak += f", waiting for {' '.join(blocked)}"
        self._move(f"{stage}: {soak}  ({words})")

    def _move(self, text: str) -> None:
        if self._output.cursor and not self._as_json and text != self._moving:
            self._moving = text
            sys.stdout.write(f"\r\x1b[2K  {text}")
            sys.stdout.flush()

    def _wipe(self) -> None:
        if self._moving:
            sys.stdout.write("\r\x1b[2K")
            self._moving = ""

    def finish(self) -> None:
        """Nothing moves any more."""
        self._wipe()


def show_summary(output: Output, state: RolloutState) -> None:
    """What runs on each device, and why; the next step last."""
    names = VersionNames(state.plan)
    output.line()
    rows = []
    ordered = [name for stage in state.plan.stages for name in stage.devices]
    for progress in state.members(ordered):
        status = status_of(progress.state)
        running = names(progress.known_hash)
        why = story.printable(_in_a_table(progress))
        mark = output.mark(status, f"{progress.state.value:<13}")
        rows.append((progress.planned.cryostat, progress.name, running, f"{mark} {why}"))
    output.table(("cryostat", "device", "runs", "state and why"), rows)
    output.line()
    show_cryostats(output, state)
    _show_end(output, state)
    held = [p for p in state.devices.values() if not why_not_acceptable(p)]
    for progress in held if state.ended is None else []:
        what = f"{progress.name}: more samples may decide until its hold expires, or you do"
        output.status(Status.HELD, "held", f"{what}: `cryofw accept {progress.name} --why TEXT`")
    stuck = [p for p in state.devices.values() if p.quarantined]
    for progress in stuck:
        why = story.printable(progress.why)
        output.status(Status.FAILED, "quarantine", f"{progress.name}: {why}")
        output.line(f"  next: {progress.hint or 'see to it, then `cryofw quarantine clear`'}")


def _in_a_table(progress: DeviceProgress) -> str:
    """Of a verdict what fits beside the others; the whole was told when it was reached."""
    why = in_short(progress.why)
    if progress.state is DeviceState.PENDING:
        return "not reached"
    return why.partition("; ")[0] if progress.state is DeviceState.CONFIRMED else why


def _show_end(output: Output, state: RolloutState) -> None:
    rollout = state.plan.rollout
    if state.ended is not None:
        status = Status.OK if state.ended.value == "confirmed" else Status.FAILED
        output.status(status, f"{rollout} {state.ended.value}", in_short(state.why))
        output.line("  verify the record with `cryofw audit verify`")
    elif state.paused == "approval":
        output.status(Status.HELD, f"{rollout} paused", state.paused_why)
        following = state.plan.stages[state.stage_index + 1].name
        output.line(f"  next: `cryofw approve --stage {following}`, then `cryofw resume`")
    elif state.paused:
        output.status(Status.HELD, f"{rollout} paused", state.paused_why)
        output.line("  next: `cryofw resume`")
    on_trial = [p for p in state.devices.values() if p.state in _ON_TRIAL]
    if on_trial and state.ended is None:
        ttl_s = max(p.planned.lease_ttl_s for p in on_trial)
        names = " ".join(p.name for p in on_trial)
        what = f"{names}: without a running rollout they go back by themselves within {ttl_s:.0f} s"
        output.status(Status.WARNING, "on trial", what)


def state_json(state: RolloutState) -> dict[str, object]:
    """The summary for programs."""
    return {
        "rollout": state.plan.rollout,
        "release": {"version": state.plan.release.version, "hash": state.plan.release.hash},
        "stage": state.stage.name if state.stage else None,
        "ended": state.ended.value if state.ended else None,
        "paused": state.paused or None,
        "why": state.why or state.paused_why,
        "devices": {
            p.name: {
                "cryostat": p.planned.cryostat,
                "stage": p.planned.stage,
                "state": p.state.value,
                "hash": p.known_hash or None,
                "why": p.why,
                "attempt": p.attempt,
                "quarantined": p.quarantined,
                "accepted": p.accepted or None,
            }
            for p in state.devices.values()
        },
        "cryostats": cryostats_json(state),
    }
