"""The shape of what happens in a scenario, and when: one mapping for each kind of trouble."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from cryofw.fleet.strict_document import (
    Duration,
    Name,
    Number,
    Pause,
    PositiveNumber,
    Share,
    StrictDocument,
    Temperature,
)
from cryofw.gameday.happening import Death, Wish
from cryofw.gameday.selector import SELECTOR_HINT, SELECTOR_PATTERN, STAGE_PATTERN, is_selector


def _selector(value: object) -> object:
    if not isinstance(value, str) or not is_selector(value):
        words = {"message": f"`{value}` selects nothing", "hint": SELECTOR_HINT}
        raise PydanticCustomError("selector", "{message}", words)
    return value


def _stage(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Selector = Annotated[
    str,
    BeforeValidator(_selector),
    WithJsonSchema(
        {"type": "string", "pattern": SELECTOR_PATTERN, "examples": ["first of stage 2"]}
    ),
]
StageChoice = Annotated[
    str,
    BeforeValidator(_stage),
    Field(pattern=STAGE_PATTERN),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 999},
                {"type": "string", "pattern": STAGE_PATTERN},
            ]
        }
    ),
]
Counting = Annotated[int, Field(ge=1, le=10_000)]
FromZero = Annotated[int, Field(ge=0, le=1_000_000)]
RecordKind = Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+){1,5}$")]


class MomentDocument(StrictDocument):
    """A moment: so long after a record of the rollout's journal."""

    after: RecordKind = Field(
        "rollout-started",
        description="Kind of the record, as `audit show` names it.",
        examples=["test-booted"],
    )
    nth: Counting = Field(1, description="The how many-th such record.")
    device: Selector | None = Field(None, description="Only records of these devices count.")
    stage: StageChoice | None = Field(
        None, description="Only records of this stage, or of its devices, count."
    )
    delay: Pause = Field(0.0, description="So much later. Seeds make it up to a tenth longer.")


class OnDevice(StrictDocument):
    """A fault of devices."""

    device: Selector = Field(description="Whom it hits.")


class HangDocument(OnDevice):
    """The application stops answering."""

    watchdog: bool = Field(True, description="Whether the watchdog resets it.")


class BootLoopDocument(OnDevice):
    """The application crashes after each of its next starts."""

    boots: Counting = Field(3, description="How many starts.")


class LostHeartbeatsDocument(OnDevice):
    """Heartbeats get no answer."""

    share: Share = Field(1.0, description="How many of them.")
    for_: Duration = Field(alias="for", description="How long.")


class MetricShiftDocument(StrictDocument):
    """A calibration figure that gets worse."""

    metric: Name | None = Field(None, description="Which; default: the first of the fleet.")
    times_reject: PositiveNumber | None = Field(
        None, description="How much worse, in multiples of its `reject`; default 2."
    )
    by: Number | None = Field(None, description="How much it moves, in its own unit, instead.")
    ramp: Pause = Field(0.0, description="It moves over so long.")


class CalibrationShiftDocument(MetricShiftDocument):
    """A calibration figure of devices gets worse, until their next power cycle."""

    device: Selector = Field(description="Whom it hits.")


class LineDocument(OnDevice):
    """A share of the frames on the line suffers."""

    share: Share = Field(0.2, description="How many of them.")
    for_: Duration = Field(alias="for", description="How long.")


class LateBytesDocument(LineDocument):
    """A share of the answers comes late."""

    by: Duration = Field(3.0, description="How late.")


class CableDocument(OnDevice):
    """The line breaks."""

    for_: Duration = Field(alias="for", description="How long.")


class SlowEraseDocument(OnDevice):
    """Erasing flash takes longer."""

    factor: PositiveNumber = Field(100.0, description="How many times as long.")
    for_: Duration = Field(alias="for", description="How long.")


class PowerCutDocument(OnDevice):
    """The supply of devices fails in a flash operation."""

    operations: FromZero = Field(0, description="In the how many-th from then on.")
    off: Duration = Field(2.0, description="How long it is off.")


class OnCryostat(StrictDocument):
    """Something that happens to a cryostat."""

    cryostat: Selector = Field(description="Which.")


class SilentDocument(OnCryostat):
    """All lines of a cryostat, or its thermometer, are gone."""

    for_: Duration = Field(alias="for", description="How long.")


class BrownOutDocument(OnCryostat):
    """The supply of a whole cryostat fails."""

    off: Duration = Field(1.0, description="How long.")


class WarmUpDocument(SilentDocument):
    """Something warms a cryostat."""

    rise: Temperature | None = Field(
        None, description="By how much in the end; default: four times its `max_rise`."
    )


class CablesSwappedDocument(StrictDocument):
    """Two devices hang on one another's ports."""

    one: Selector
    other: Selector
    for_: Duration = Field(alias="for", description="Until somebody puts them right.")


class HostDiesDocument(StrictDocument):
    """The deploying process ends without warning."""

    at: Death = Field(Death.NOW, strict=False, description="Where in its work.")
    count: FromZero = Field(0, description="At the how many-th such place from then on.")
    back_after: Duration = Field(60.0, description="When a person starts it again.")


class DiskFailsDocument(StrictDocument):
    """A write of the host to its disk fails."""

    count: FromZero = Field(0, description="The how many-th from then on.")


class ClockJumpsDocument(StrictDocument):
    """The host's clock is set."""

    by: Duration = Field(description="How far.")
    backwards: bool = Field(False, description="Into the past.")


class BackupDocument(StrictDocument):
    """The host dies, and the state directory from before the rollout is restored."""

    back_after: Duration = Field(60.0, description="When.")


class RivalDocument(StrictDocument):
    """Somebody on another host rolls out another image."""


class PersonDocument(StrictDocument):
    """A person asks something of the running rollout."""

    to: Wish = Field(strict=False, description="What.")


def _one_of_them(schema: dict[str, Any]) -> None:
    kinds = [name for name in schema["properties"] if name != "when"]
    schema["oneOf"] = [{"required": [name]} for name in kinds]


class HappeningDocument(StrictDocument):
    """What happens, and when: exactly one of the kinds."""

    model_config = ConfigDict(json_schema_extra=_one_of_them)

    when: MomentDocument = Field(
        default_factory=lambda: MomentDocument.model_validate({}),
        description="Default: at the start.",
    )
    hang: HangDocument | None = None
    boot_loop: BootLoopDocument | None = Field(None, alias="boot-loop")
    lost_heartbeats: LostHeartbeatsDocument | None = Field(None, alias="lost-heartbeats")
    calibration_shift: CalibrationShiftDocument | None = Field(None, alias="calibration-shift")
    corrupted_bytes: LineDocument | None = Field(None, alias="corrupted-bytes")
    dropped_bytes: LineDocument | None = Field(None, alias="dropped-bytes")
    duplicated_bytes: LineDocument | None = Field(None, alias="duplicated-bytes")
    late_bytes: LateBytesDocument | None = Field(None, alias="late-bytes")
    cable_pulled: CableDocument | None = Field(None, alias="cable-pulled")
    slow_erase: SlowEraseDocument | None = Field(None, alias="slow-erase")
    power_cut: PowerCutDocument | None = Field(None, alias="power-cut")
    hub_silent: SilentDocument | None = Field(None, alias="hub-silent")
    brown_out: BrownOutDocument | None = Field(None, alias="brown-out")
    warm_up: WarmUpDocument | None = Field(None, alias="warm-up")
    no_thermometer: SilentDocument | None = Field(None, alias="no-thermometer")
    cables_swapped: CablesSwappedDocument | None = Field(None, alias="cables-swapped")
    host_dies: HostDiesDocument | None = Field(None, alias="host-dies")
    disk_fails: DiskFailsDocument | None = Field(None, alias="disk-fails")
    clock_jumps: ClockJumpsDocument | None = Field(None, alias="clock-jumps")
    backup_restored: BackupDocument | None = Field(None, alias="backup-restored")
    second_operator: RivalDocument | None = Field(None, alias="second-operator")
    person_asks: PersonDocument | None = Field(None, alias="person-asks")

    @property
    def written(self) -> dict[str, StrictDocument]:
        """What happens, by the key under which it is written; one, in a file that is right."""
        fields = type(self).model_fields
        found = {
            info.alias or name: getattr(self, name)
            for name, info in fields.items()
            if name != "when"
        }
        return {key: value for key, value in found.items() if value is not None}
