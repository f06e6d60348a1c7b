"""From fleet.yaml, a release and what the devices answered to a plan, or to every reason why not.

The checks here are those that must hold before anything is sent: a way back, a reset path, a
version and a security counter that will boot, a board that fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from string import Template
from typing import TYPE_CHECKING

from cryofw import __version__
from cryofw.errors import Refused
from cryofw.fleet import CalibrationTest
from cryofw.health import EvidenceContract, Method, MetricContract, Worse
from cryofw.image import Version
from cryofw.rollout.bootloader_planner import bootloader_objections
from cryofw.rollout.coefficient_planner import coefficient_objections
from cryofw.rollout.guard_planner import contracts_of, lab_sources, prometheus_of, with_holdback
from cryofw.rollout.lab_planner import (
    counter_objections,
    host_objections,
    identity_objections,
    left_out,
    no_device_left,
    no_file_words,
    range_objections,
)
from cryofw.rollout.plan import Connection, Plan, PlannedDevice, PlannedStage
from cryofw.rollout.register import DeviceRegister
from cryofw.rollout.streams import blind_spots, open_ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cryofw.fleet import Controller, Fleet, Metric, Stage
    from cryofw.release import Firmware, ReleaseOrigin
    from cryofw.release.coefficients import Coefficients

NO_WAY_BACK = "no-way-back"
NO_RESET_PATH = "no-reset-path"
DOWNGRADE = "downgrade"

_METHODS = {CalibrationTest.RANK: Method.RANKS, CalibrationTest.T_MIXTURE: Method.T_MIXTURE}


@dataclass(frozen=True, slots=True)
class Running:
    """What a device answered when the plan was made.

    Attributes:
        hash: hex hash of the active image; empty if it did not answer.
        version: its version as the device reports it.
        slot_size: bytes of the upload slot; None if the device does not say.
        watchdog: whether the device says that it has one; None if it does not say.
        why: why it did not answer, or is not the device; empty if all is well.
        refused: it answers but is not what fleet.yaml names.
        board, serial: as it tells them; empty if it does not.
        overwrites: its bootloader does, instead of swapping; None if the device does not say.
        primary_size: bytes of the slot that runs; None if the device does not say.
    """

    hash: str = ""
    version: str = ""
    hw: str = ""
    slot_size: int | None = None
    watchdog: bool | None = None
    why: str = ""
    refused: bool = False
    board: str = ""
    serial: str = ""
    overwrites: bool | None = None
    primary_size: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for.

    Attributes:
        overrides: kind of risk to the device names it is accepted for; "*" means all.
        created: RFC 3339 time; nonce: hex from the injected generator.
        origin: the repository that the release was taken from; None for a file.
        coefficients: what the release brings besides; None if nothing.
        from_versions: range of versions that the release may come from; empty: all.
        host_versions: range of versions of cryofw that may roll it out; host: this one's.
    """

    release: Firmware
    requester: str
    created: str
    nonce: str
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    origin: ReleaseOrigin | None = None
    coefficients: Coefficients | None = None
    from_versions: str = ""
    host_versions: str = ""
    host: str = __version__

    def accepts(self, kind: str, device: str) -> bool:
        """The person accepted this risk for this device, by name."""
        names = self.overrides.get(kind, ())
        return device in names or "*" in names


class PlanRefused(Refused):
    """No plan can be made; `reasons` holds every one of them."""

    def __init__(self, reasons: Sequence[str], hint: str) -> None:
        super().__init__(
            "this rollout is refused; nothing was sent to any device",
            why="\n".join(f"- {reason}" for reason in _grouped(reasons)),
            hint=hint,
        )
        self.reasons = tuple(reasons)


def _grouped(reasons: Sequence[str]) -> list[str]:
    """One line for devices that have the same reason."""
    names: dict[str, list[str]] = {}
    for reason in reasons:
        name, _, text = reason.partition(": ")
        names.setdefault(text, []).append(name)
    return [f"{', '.join(who)}: {text}" if text else ", ".join(who) for text, who in names.items()]


def make_plan(
    fleet: Fleet,
    wish: Wish,
    running: Mapping[str, Running],
    known: Mapping[str, Firmware],
    quarantined: Mapping[str, str],
    register: DeviceRegister | None = None,
) -> Plan:
    """The plan.

    Args:
        fleet: fleet.yaml, resolved.
        wish: the release and who asks.
        running: device name to what it answered.
        known: image hash to the verified image at hand.
        quarantined: device name to the reason it is in quarantine.
        register: who was adopted, replaced and pinned; None: nobody.

    Raises:
        PlanRefused: with every reason at once.
    """
    register = register or DeviceRegister()
    excluded = left_out(fleet, quarantined, register, wish.release.version)
    reasons = host_objections(wish)
    devices: dict[str, PlannedDevice] = {}
    for stage in fleet.stages:
        for controller in fleet.stage_controllers(stage):
            if controller.name in excluded:
                continue
            answer = running.get(controller.name, Running(why="was not asked"))
            device = _device(controller, stage, wish, answer, known, register)
            reasons += _objections(device, controller, wish, answer, register)
            devices[device.name] = device
    stages = tuple(_stage(fleet, stage, devices) for stage in fleet.stages)
    reasons += [no_device_left(fleet, s.name, excluded) for s in stages if not s.devices]
    reasons += [
        f"stage {s.name}: none of its devices answers"
        for s in stages
        if s.devices and not any(devices[n].running_hash or running[n].refused for n in s.devices)
    ]
    reasons += coefficient_objections(wish.coefficients, fleet, devices)
    reasons += blind_spots(stages, devices, _false_rollback(fleet, devices)) if devices else []
    if reasons:
        raise PlanRefused(reasons, _hint(reasons))
    return Plan(
        lab=fleet.lab,
        fleet_digest=fleet.digest,
        release=wish.release,
        stages=stages,
        devices=devices,
        guards=contracts_of(fleet),
        prometheus=prometheus_of(fleet),
        error_budgets=fleet.error_budgets,
        origin=wish.origin,
        coefficients_digest=wish.coefficients.digest if wish.coefficients else "",
        ledger=open_ledger(stages, devices, _false_rollback(fleet, devices)),
        heat_slots={n: c.thermal.flashes_at_once for n, c in fleet.cryostats.items()},
        requester=wish.requester,
        created=wish.created,
        nonce=wish.nonce,
        excluded=excluded,
        from_versions=wish.from_versions,
        host_versions=wish.host_versions,
        overrides=dict(wish.overrides),
    )


def _false_rollback(fleet: Fleet, devices: Mapping[str, PlannedDevice]) -> float:
    """One alpha for the whole rollout: where controllers ask for several, the strictest."""
    return min(fleet.by_name[name].calibration.false_rollback for name in devices)


def _hint(reasons: Sequence[str]) -> str:
    if any("no way back" in reason for reason in reasons):
        return (
            "give the file of the running image with --last-good FILE (one that another key "
            "signed: `cryofw adopt --image FILE`), or accept the risk for one device with "
            "--no-way-back DEVICE"
        )
    if any("reset path" in reason for reason in reasons):
        return "set `reset:` in fleet.yaml, or accept the risk with --no-reset-path DEVICE"
    if any(" may come from " in reason for reason in reasons):
        return "deploy a version in between first, or leave devices out with `cryofw pin`"
    if any("needs cryofw" in reason for reason in reasons):
        return "install a cryofw of that range, or deploy another release"
    return "see each reason above"


def _device(
    controller: Controller,
    stage: Stage,
    wish: Wish,
    answer: Running,
    known: Mapping[str, Firmware],
    register: DeviceRegister,
) -> PlannedDevice:
    last_good = known.get(answer.hash) if answer.hash else None
    connection = connection_of(controller)
    if answer.overwrites is not None:
        connection = replace(connection, overwrites=answer.overwrites)
    return PlannedDevice(
        name=controller.name,
        cryostat=controller.cryostat,
        stage=stage.name,
        connection=connection,
        hw=controller.hw or register.pinned_hw(controller.name) or answer.hw,
        serial=register.pinned_serial(controller.name),
        board=controller.board,
        running_hash=answer.hash,
        running_version=answer.version,
        last_good=last_good,
        way_back=last_good is not None and boots_after(wish.release, last_good),
        lease_ttl_s=max(60.0, 6 * controller.heartbeat.every_s),
        evidence=evidence_of(controller, stage),
        sources=lab_sources(controller),
        coefficients=wish.coefficients.of(controller.name) if wish.coefficients else {},
        coefficient_command=controller.coefficient_command or (),
        recalibration=controller.calibration.recalibration,
    )


def connection_of(controller: Controller) -> Connection:
    """How fleet.yaml says that a controller is reached; `${...}` in its hook is filled in."""
    names = {"controller": controller.name, "cryostat": controller.cryostat}
    hook = tuple(Template(word).safe_substitute(names) for word in controller.reset.hook or ())
    return Connection(
        port=controller.port,
        baud=controller.baud,
        watchdog=controller.reset.watchdog,
        power_hook=hook,
        shared_by=controller.reset.shared_by,
        boot_time_s=controller.boot_time_s,
        framing=controller.framing,
        request_timeout_s=controller.heartbeat.timeout_s,
        retries=controller.retries.count,
        backoff_s=controller.retries.backoff_s,
        owner=controller.owner or "",
        reset_lines=controller.reset.lines,
        overwrites=bool(controller.bootloader.overwrites),
    )


def boots_after(release: Firmware, last_good: Firmware) -> bool:
    """A hardware counter may have risen to the release's: only an equal or higher one boots.

    The counter on the device cannot be read over SMP, so it is assumed to follow the release.
    """
    if release.security_counter is None:
        return True
    return (last_good.security_counter or 0) >= release.security_counter


def evidence_of(controller: Controller, stage: Stage) -> EvidenceContract:
    """What fleet.yaml asks of a controller in a stage."""
    calibration, beat = controller.calibration, controller.heartbeat
    return EvidenceContract(
        soak_s=stage.soak_s,
        deadline_s=stage.deadline_s if calibration.hold_s is None else calibration.hold_s,
        heartbeat_every_s=beat.every_s,
        misses_allowed=beat.misses_allowed,
        sample_every_s=calibration.every_s,
        baseline_samples=calibration.baseline_samples,
        min_samples=calibration.min_samples,
        metrics=tuple(
            MetricContract(name, m.unit, Worse(m.worse), m.margin, m.reject, _bound(m))
            for name, m in calibration.metrics.items()
        ),
        settle_s=calibration.settle_s,
        method=_METHODS[calibration.test],
    )


def _bound(metric: Metric) -> float | None:
    """The limit, or what the golden baseline allows, whichever is tighter.

    A baseline taken on the last release would let every release lose a little.
    """
    lower = metric.worse == Worse.LOWER
    bounds = [] if metric.limit is None else [metric.limit]
    if metric.golden is not None:
        bounds.append(metric.golden - metric.reject if lower else metric.golden + metric.reject)
    return (max(bounds) if lower else min(bounds)) if bounds else None


def _objections(
    device: PlannedDevice,
    controller: Controller,
    wish: Wish,
    answer: Running,
    register: DeviceRegister,
) -> list[str]:
    """Why this device must not take part as it is."""
    name, release = device.name, wish.release
    found = identity_objections(controller, register)
    if answer.refused:
        found.append(f"{name}: {answer.why}")
    if release.board and controller.board != release.board:
        found.append(f"{name}: the image is for board {release.board}, this is {controller.board}")
    if not controller.reset.exists and not wish.accepts(NO_RESET_PATH, name):
        found.append(f"{name}: no reset path: a hung firmware could not be restarted")
    outside = controller.reset.from_outside
    if controller.reset.watchdog and not outside and answer.watchdog is False:
        found.append(f"{name}: no reset path: fleet.yaml says watchdog, the device has none")
    found += bootloader_objections(device, controller, release, answer)
    slot_size = answer.slot_size or controller.slot_size
    if slot_size is not None and release.size > slot_size:
        found.append(f"{name}: {release.size} bytes do not fit the slot of {slot_size}")
    if answer.hash and answer.hash != release.hash:
        found += _version_objections(device, wish, register)
    return found


def _version_objections(device: PlannedDevice, wish: Wish, register: DeviceRegister) -> list[str]:
    name, release, last_good = device.name, wish.release, device.last_good
    found = range_objections(device, wish)
    if device.connection.overwrites and not wish.accepts(NO_WAY_BACK, name):
        found.append(
            f"{name}: no way back: its bootloader overwrites the running image: there is no test "
            "boot, and a firmware that does not come up stays"
        )
    if last_good is None:
        if not wish.accepts(NO_WAY_BACK, name):
            found.append(no_file_words(device, register))
        return [*found, *counter_objections(device, wish, register)]
    if not device.way_back and not wish.accepts(NO_WAY_BACK, name):
        found.append(
            f"{name}: no way back after confirm: security counter {release.security_counter} "
            f"shuts out the running image's {last_good.security_counter or 0}"
        )
    counters = (release.security_counter or 0, last_good.security_counter or 0)
    if counters[0] < counters[1]:
        found.append(f"{name}: security counter {counters[0]} is below the running {counters[1]}")
    older = Version.parse(release.version) < Version.parse(last_good.version)
    if older and not wish.accepts(DOWNGRADE, name):
        found.append(
            f"{name}: {release.version} is older than the running {last_good.version}; "
            "--downgrade allows it"
        )
    return found


def _stage(fleet: Fleet, stage: Stage, devices: Mapping[str, PlannedDevice]) -> PlannedStage:
    return PlannedStage(
        name=stage.name,
        waves=waves_of(fleet, stage, devices),
        on_failure=stage.on_failure,
        min_reachable=stage.min_reachable,
        then_approve=stage.then_approve,
        window=stage.window,
    )


def waves_of(fleet: Fleet, stage: Stage, devices: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of `cryostats_at_once`, each through the cumulative waves of its cryostats.

    One controller of several is held back to the last wave of its cryostat.
    """
    at_once = stage.cryostats_at_once or len(stage.targets)
    waves: list[tuple[str, ...]] = []
    for start in range(0, len(stage.targets), at_once):
        group = stage.targets[start : start + at_once]
        members = [
            [c.name for c in fleet.cryostats[target].controllers if c.name in devices]
            for target in group
        ]
        sizes = [with_holdback(stage.wave_sizes(len(names)), len(names)) for names in members]
        for index in range(max(map(len, sizes))):
            wave = [
                name
                for names, size in zip(members, sizes, strict=True)
                for name in names[size[index - 1] if index else 0 : size[index]]
            ]
            if wave:
                waves.append(tuple(wave))
    return tuple(waves)
