"""The shape of a scenario file (`cryofw.scenario/v1`), for its loader and its JSON Schema."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from cryofw.fleet.strict_document import Duration, Name, Pause, StrictDocument, Text
from cryofw.gameday.happening_document import (
    Counting,
    HappeningDocument,
    MetricShiftDocument,
    StageChoice,
)
from cryofw.rollout import Ending


class Need(StrEnum):
    """What a fleet must have, or the scenario shows nothing on it."""

    METRICS = "metrics"
    THERMOMETER = "thermometer"


class TrustedBy(StrEnum):
    """Who trusts the key that signed the release."""

    EVERYBODY = "everybody"
    HOST = "host"
    """cryofw does, the bootloaders do not."""
    NOBODY = "nobody"


class Expected(StrEnum):
    """How a game may end: as a rollout does, or before it began."""

    CONFIRMED = Ending.CONFIRMED.value
    ROLLED_BACK = Ending.ROLLED_BACK.value
    STUCK = Ending.STUCK.value
    ABORTED = Ending.ABORTED.value
    STOPPED = Ending.STOPPED.value
    REFUSED = Ending.REFUSED.value
    NOT_BEGUN = "not-begun"


class FirmwareShiftDocument(MetricShiftDocument):
    """A calibration figure gets worse under the release."""

    after: Pause = Field(0.0, description="So long after each boot.")


class ReleaseDocument(StrictDocument):
    """What is wrong with the release; nothing, if nothing is said."""

    hang_after: Pause | None = Field(None, description="It hangs so long after each boot.")
    watchdog: bool = Field(True, description="Whether it arms the watchdog.")
    boot_loop: Counting | None = Field(None, description="So many of its boots crash.")
    shift: FirmwareShiftDocument | None = None
    key: TrustedBy = Field(TrustedBy.EVERYBODY, strict=False, description="Who trusts its key.")
    never: bool = Field(
        False, description="No device may keep it: that one does breaks an invariant."
    )


class ExpectDocument(StrictDocument):
    """What must come of it."""

    ended: list[Annotated[Expected, Field(strict=False)]] = Field(
        min_length=1, max_length=7, description="How the rollout may end."
    )
    detected_within: Duration | None = Field(
        None, description="From when it happened to the first record that shows it."
    )
    back_within: Duration | None = Field(
        None, description="From then until the last device runs its last good firmware."
    )
    no_further_than: StageChoice | None = Field(
        None, description="No device of a later stage ever runs the release."
    )


class ScenarioDocument(StrictDocument):
    """A rehearsal: what is wrong with a release, what happens, and what must come of it."""

    schema_: Literal["cryofw.scenario/v1"] = Field(
        alias="schema", description="Format of this file."
    )
    name: Name = Field(description="How `cryofw sim gameday NAME` calls it.")
    title: Text = Field(description="What it is about, in one line.")
    needs: list[Annotated[Need, Field(strict=False)]] = Field(
        default_factory=list,
        max_length=2,
        description="What the fleet must have; it is not played on others.",
    )
    stages: Counting | None = Field(
        None, description="Only the first so many stages are rolled out; default: all."
    )
    release: ReleaseDocument = Field(
        default_factory=lambda: ReleaseDocument.model_validate({}),
        description="Default: nothing is wrong with it.",
    )
    happenings: list[HappeningDocument] = Field(default_factory=list, max_length=200)
    expect: ExpectDocument
