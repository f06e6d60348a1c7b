"""The plan: what will be done to which device, on what evidence, frozen and named by its digest.

A plan is immutable JSON. Everything the rollout decides later it decides from the plan and from
what the devices answer; fleet.yaml may change in between without changing a running rollout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from cryofw.errors import BadInput, VerificationFailed
from cryofw.fleet import ErrorBudget, Prometheus, Reach, Recalibration, Window
from cryofw.health import AlphaLedger, EvidenceContract
from cryofw.release import Coefficient, Firmware, ReleaseOrigin
from cryofw.rollout.guard_contract import CryostatContract, PlannedSource

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "cryofw.plan/v1"


@dataclass(frozen=True, slots=True)
class Connection:
    """How a device is reached and restarted.

    Attributes:
        power_hook: command that cycles its power; empty if there is none.
        shared_by: other devices that the hook restarts too.
        boot_time_s: after a reset nothing is sent for so many seconds.
        request_timeout_s: how long an answer may take.
        owner: the one host that may drive it; empty: whoever holds its lease.
        reset_lines: steps on DTR and RTS of its port that reset it; empty if there are none.
        boot_limit_s: a device that does not come up so many seconds after its boot time hangs; a
            swap of a full slot on slow flash takes most of the default.
        overwrites: its bootloader copies over the running image: no test boot, and a firmware that
            does not come up stays.
        framing: how messages lie on its line: "console", "raw", or "auto": found out.
    """

    port: str
    baud: int
    watchdog: bool
    power_hook: tuple[str, ...]
    shared_by: tuple[str, ...]
    boot_time_s: float
    request_timeout_s: float
    retries: int
    backoff_s: float
    owner: str
    boot_limit_s: float = 90.0
    reset_lines: tuple[str, ...] = ()
    overwrites: bool = False
    framing: str = "auto"

    @property
    def restarts_from_outside(self) -> bool:
        """Whether a hook, or the lines of its port, restart it."""
        return bool(self.power_hook or self.reset_lines)

    @property
    def has_reset_path(self) -> bool:
        """Whether a hung firmware can be restarted at all."""
        return self.watchdog or self.restarts_from_outside


@dataclass(frozen=True, slots=True)
class PlannedDevice:
    """One device of the plan.

    Attributes:
        running_hash: hex hash that ran when the plan was made.
        running_version: its version as the device reports it.
        last_good: the verified image behind that hash; None means no way back after confirm.
        way_back: whether `last_good` would still boot after the new firmware was confirmed.
        lease_ttl_s: seconds after which an abandoned test boot reverts by itself.
        serial: serial number that it was adopted with, and must have; empty: any.
        sources: metric to its source, for each that the lab measures and not the device.
        coefficients: what the release brings to it, by name of the setting.
        coefficient_command: writes them; empty: its SMP settings group does.
        recalibration: what calibrates it before its baseline, after its test boot, and after its
            way back.
    """

    name: str
    cryostat: str
    stage: str
    connection: Connection
    hw: str
    board: str
    running_hash: str
    running_version: str
    last_good: Firmware | None
    way_back: bool
    lease_ttl_s: float
    evidence: EvidenceContract
    sources: Mapping[str, PlannedSource] = field(default_factory=dict)
    coefficients: Mapping[str, Coefficient] = field(default_factory=dict)
    coefficient_command: tuple[str, ...] = ()
    recalibration: Recalibration = field(default_factory=Recalibration)
    serial: str = ""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage: its waves in order, each a tuple of device names.

    Attributes:
        window: outside of it nothing is flashed; None means always.
    """

    name: str
    waves: tuple[tuple[str, ...], ...]
    on_failure: Reach
    min_reachable: float
    then_approve: bool
    window: Window | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices of the stage in the order of their waves."""
        return tuple(name for wave in self.waves for name in wave)


@dataclass(frozen=True, slots=True)
class PlannedPolicy:
    """The policy under which a rollout runs; its file lies beside the plan.

    Attributes:
        digest: hex SHA-256 of the file; version: its number; source: where it came from.
        approvals: stage to the number of different principals who must approve its start.
    """

    digest: str
    version: int
    source: str
    approvals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The whole plan.

    Attributes:
        heat_slots: cryostat name to the number of devices that may be hot at once.
        guards: cryostat name to its guards; without an entry only `heat_slots` holds there.
        prometheus: the server behind queries; None if there are none.
        error_budgets: without them kept, the rollout does not start.
        ledger: what each stream of evidence may spend of `false_rollback`; None in plans of
            cryofw 0.1.0 before its statistics, which get one of 1 %.
        coefficients_digest: hex SHA-256 of the file of coefficients; empty if there is none.
        origin: the release repository that vouched for the image; None for a plain file.
        policy: who may do what in this rollout; None: acts are recorded, not signed.
        excluded: device name to the reason it takes no part (quarantined, pinned).
        from_versions: range of versions that a device may run before; empty: all.
        host_versions: range of versions of cryofw that may run the plan; empty: all.
        overrides: kind of override to the device names an operator accepted it for.
        nonce: hex, so that the same wish on another day is another plan.
    """

    lab: str
    fleet_digest: str
    release: Firmware
    stages: tuple[PlannedStage, ...]
    devices: Mapping[str, PlannedDevice]
    heat_slots: Mapping[str, int]
    requester: str
    created: str
    nonce: str
    excluded: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guards: Mapping[str, CryostatContract] = field(default_factory=dict)
    prometheus: Prometheus | None = None
    error_budgets: tuple[ErrorBudget, ...] = ()
    origin: ReleaseOrigin | None = None
    ledger: AlphaLedger | None = None
    coefficients_digest: str = ""
    policy: PlannedPolicy | None = None
    from_versions: str = ""
    host_versions: str = ""
    schema: str = SCHEMA

    @cached_property
    def canonical(self) -> bytes:
        """The exact bytes that are digested, stored and approved."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode() + b"\n"

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.canonical).hexdigest()

    @property
    def rollout(self) -> str:
        """The rollout's id, from the digest: one plan is one rollout."""
        return f"r-{self.digest[:8]}"

    @property
    def ports(self) -> dict[str, str]:
        """Device name to its port."""
        return {name: device.connection.port for name, device in self.devices.items()}

    def stage(self, name: str) -> PlannedStage:
        """The stage called `name`; KeyError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)


def parse_plan(data: bytes, name: str = "plan", digest: str = "") -> Plan:
    """Read a plan's canonical bytes.

    Args:
        data: the bytes; they, not what this version would write, make the plan's digest.
        name: of the file, for messages.
        digest: what the journal says of a plan in flight, which may be of an older version.

    Raises:
        BadInput: not a plan; or, without `digest`, not byte for byte what this version writes.
        VerificationFailed: its digest is another one.
    """
    from pydantic import ValidationError

    hint = "make a new plan with `cryofw plan`; a plan is never edited"
    if digest and (found := hashlib.sha256(data).hexdigest()) != digest:
        raise VerificationFailed(
            f"{name} is not the plan that was started",
            why=f"its digest is {found[:16]}, the journal says {digest[:16]}",
            hint="restore the state directory from its backup",
        )
    try:
        plan = _adapter().validate_json(data)
    except (ValidationError, RecursionError) as error:
        raise BadInput(f"{name} is not a plan", why=_first_line(error), hint=hint) from None
    if plan.schema != SCHEMA:
        raise BadInput(f"{name} has the schema {plan.schema!r}", why=f"known: {SCHEMA}", hint=hint)
    if digest:
        vars(plan)["canonical"] = data  # where `cached_property` looks first
    elif plan.canonical != data:
        raise BadInput(
            f"{name} was changed after it was made, or made by another version of cryofw",
            why="it is not byte for byte what this version writes",
            hint=f"{hint}; a rollout in flight is finished by the version that began it",
        )
    return plan


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Plan]:
    """What reads plans: made once, for that takes longer than reading one."""
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def _first_line(error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return "nested too deeply"
    first = errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])
