"""The whole fleet.yaml as written: pydantic models of stages, windows, simulation and fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from cryofw.fleet import quantity
from cryofw.fleet.controller_document import CryostatDocument, DefaultsDocument
from cryofw.fleet.source_document import ErrorBudgetDocument, TelemetryDocument
from cryofw.fleet.strict_document import (
    Duration,
    Name,
    Number,
    SettingName,
    Share,
    StrictDocument,
    Text,
)
from cryofw.fleet.window import read_cron, read_zone


class WindowDocument(StrictDocument):
    """When devices of a stage may be flashed."""

    cron: Annotated[str, BeforeValidator(read_cron)] = Field(
        description="When the window opens: minute, hour, day, month, weekday.",
        examples=["0 20 * * 1-4"],
    )
    for_: Duration = Field(alias="for", description="How long it stays open.")
    tz: Annotated[str, BeforeValidator(read_zone)] = Field(
        "UTC", description="Time zone of `cron`.", examples=["Europe/Amsterdam"]
    )


def _read_wave(value: object) -> int | float:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise PydanticCustomError(
                "wave", "{message}", {"message": "a wave has at least one controller", "hint": ""}
            )
        return value
    return quantity.read_share(value)


Wave = Annotated[
    int | float,
    BeforeValidator(_read_wave),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": quantity.PERCENT.pattern},
            ]
        }
    ),
]


class StageDocument(StrictDocument):
    """One stage of every rollout; a stage starts only when the gate of the one before passed."""

    name: Name = Field(description="Unique name.")
    targets: list[Name] = Field(min_length=1, description="Cryostats of this stage, in order.")
    soak: Duration = Field(
        description="How long an updated controller is watched before it is confirmed."
    )
    then: Literal["approve"] | None = Field(
        None, description="`approve`: the next stage waits for a person."
    )
    cryostats_at_once: int | None = Field(
        None, ge=1, le=1000, description="Cryostats updated side by side; default: all."
    )
    waves: list[Wave] | None = Field(
        None,
        min_length=1,
        description="Controllers of each cryostat that are updated, cumulative, as counts or "
        "shares; the rest are its controls. Default: [100 %].",
    )
    on_failure: Literal["device", "cryostat", "stage", "rollout"] | None = Field(
        None, description="How far a failure reaches: all of it is rolled back; default: stage."
    )
    min_reachable: Share | None = Field(
        None, description="Share of the stage that must answer before it starts; default 50 %."
    )
    deadline: Duration | None = Field(
        None, description="A controller held longer than this is rolled back; default: the soak."
    )
    window: WindowDocument | None = None


class SimulatedMetricDocument(StrictDocument):
    """What simulated controllers report for a metric."""

    nominal: Number = Field(description="Value of a healthy controller.")
    noise: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] = Field(
        0.0, description="Standard deviation of the readout noise."
    )
    correlation: Duration = Field(
        10.0, description="Time in which the noise forgets itself; default 10 s."
    )


class SimulationDocument(StrictDocument):
    """The simulated lab behind `sim://` ports; other ports ignore it."""

    seed: int = Field(1, ge=0, le=2**63 - 1, description="Same seed, same run, to the last byte.")
    metrics: dict[Name, SimulatedMetricDocument] = Field(
        default_factory=dict, description="By the names used in `calibration`."
    )
    coefficients: dict[SettingName, Number] = Field(
        default_factory=dict,
        description="Settings that simulated controllers know (SMP group 3, 32-bit floats), with "
        "the values they are delivered with; without any they have no such group.",
        examples=[{"readout/gain": 1.0}],
    )


class FleetDocument(StrictDocument):
    """A lab: its cryostats, their controllers, and the stages of every rollout."""

    schema_: Literal["cryofw.fleet/v1"] = Field(alias="schema", description="Format of this file.")
    lab: Text = Field(description="Name of the lab, in reports and journals.")
    board: Name | None = Field(None, description="Board type of every controller.")
    defaults: DefaultsDocument | None = None
    stages: list[StageDocument] = Field(min_length=1, description="In the order of the rollout.")
    cryostats: dict[Name, CryostatDocument] = Field(min_length=1, description="Cryostats by name.")
    telemetry: TelemetryDocument | None = None
    error_budget: list[ErrorBudgetDocument] | None = Field(
        None,
        min_length=1,
        description="What the lab still owes its users: a rollout is refused while one is spent.",
    )
    simulation: SimulationDocument | None = None
