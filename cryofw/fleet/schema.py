"""The shape of fleet.yaml v1 as written: pydantic models, and the JSON Schema made from them.

Everything that `defaults`, a cryostat and a controller may set is optional here, because the three
are merged by key; what must be set after the merge is checked in `resolve`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from cryofw.fleet import quantity
from cryofw.fleet.window import read_cron, read_zone

SCHEMA = "cryofw.fleet/v1"
SCHEMA_ID = "urn:cryofw:fleet:v1"


def _quantity(dimension: quantity.Dimension) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": dimension.pattern, "examples": [dimension.example]}
    )


Duration = Annotated[float, BeforeValidator(quantity.DURATION.read), _quantity(quantity.DURATION)]
Pause = Annotated[float, BeforeValidator(quantity.PAUSE.read), _quantity(quantity.PAUSE)]
Power = Annotated[float, BeforeValidator(quantity.POWER.read), _quantity(quantity.POWER)]
Temperature = Annotated[
    float, BeforeValidator(quantity.TEMPERATURE.read), _quantity(quantity.TEMPERATURE)
]
Share = Annotated[float, BeforeValidator(quantity.read_share), _quantity(quantity.PERCENT)]
Size = Annotated[int, BeforeValidator(quantity.read_size), _quantity(quantity.SIZE)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
PositiveNumber = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e12)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, title=None)


class HeartbeatDocument(_Document):
    """How a controller shows that it lives."""

    every: Duration | None = Field(None, description="Time between two heartbeats.")
    timeout: Duration | None = Field(
        None, description="An answer later than this is a miss; default: `every`, at most 2 s."
    )
    misses_allowed: int | None = Field(
        None, ge=0, le=1000, description="Misses in a row that are still fine; default 4."
    )


class ResetDocument(_Document):
    """How a hung controller is restarted; `watchdog` alone is short for `{watchdog: true}`."""

    watchdog: bool | None = Field(None, description="Its own watchdog restarts it.")
    hook: list[Text] | None = Field(
        None,
        min_length=1,
        description="Command that cycles its power, as a list of arguments; `${controller}` and "
        "`${cryostat}` are replaced.",
    )
    shared_by: list[Name] | None = Field(
        None, description="The other controllers that the hook restarts too."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "watchdog":
            return {"watchdog": True}
        hint = "write `watchdog`, or {hook: [COMMAND, ...]}"
        raise PydanticCustomError(
            "reset", "{message}", {"message": f"`{value}` is not a reset path", "hint": hint}
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The mapping, or the short form."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        description = mapping.pop("description", "")
        return {"description": description, "anyOf": [{"const": "watchdog"}, mapping]}


class ThermalDocument(_Document):
    """The heat budget of the temperature stage on which the controllers of a cryostat sit."""

    stage: Name | None = Field(None, description="Name of the temperature stage, for example 4k.")
    capacity: Power | None = Field(None, description="Heat that the stage can carry away.")
    headroom: Share | None = Field(
        None, description="Share of the capacity that may be used; default 80 %."
    )
    flash: Power | None = Field(None, description="Heat of one controller while it flashes.")
    max_rise: Temperature | None = Field(
        None, description="Warming of the stage at which the rollout freezes."
    )


class MetricDocument(_Document):
    """One calibration figure, and how much worse it may get."""

    unit: Text | None = Field(None, description="Physical unit, for people: dB, bit, ns.")
    worse: Literal["lower", "higher"] | None = Field(None, description="Which direction is worse.")
    margin: PositiveNumber | None = Field(
        None, description="Worse by up to this much is still as good as before."
    )
    reject: PositiveNumber | None = Field(
        None, description="Worse by this much must be found; larger than `margin`."
    )
    limit: Number | None = Field(
        None, description="Absolute limit that no update may cross, whatever the baseline was."
    )


class CalibrationDocument(_Document):
    """The evidence that an update must give before it is confirmed."""

    false_rollback: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        None,
        description="Probability that a good firmware is rolled back: one budget for the whole "
        "rollout, heartbeats included; default 0.01. Only in `defaults`.",
    )
    every: Duration | None = Field(None, description="Time between two samples; default 30 s.")
    min_samples: int | None = Field(
        None, ge=2, le=100_000, description="Fresh samples before a verdict; default 20."
    )
    baseline_samples: int | None = Field(
        None, ge=2, le=100_000, description="Samples taken before the update; default 20."
    )
    metrics: dict[Name, MetricDocument] | None = Field(None, description="Metrics by name.")


class RetriesDocument(_Document):
    """How often a request that got no answer is repeated."""

    count: int | None = Field(None, ge=0, le=100, description="Repetitions; default 3.")
    backoff: Pause | None = Field(
        None, description="Pause before the first repetition, doubled each time; default 1 s."
    )


class SettingsDocument(_Document):
    """What `defaults`, a cryostat and a controller may all set; the nearest wins, key by key."""

    board: Name | None = Field(None, description="Board type that the device must report.")
    baud: int | None = Field(
        None, ge=300, le=12_000_000, description="Bits per second of the port; default 115200."
    )
    boot_time: Pause | None = Field(
        None, description="After a reset nothing is sent for this long; default 5 s."
    )
    slot_size: Size | None = Field(
        None, description="Size of an image slot; default: what the device reports."
    )
    owner: Text | None = Field(
        None, description="The only host that may drive the port; required for network ports."
    )
    heartbeat: HeartbeatDocument | None = None
    reset: ResetDocument | None = None
    calibration: CalibrationDocument | None = None
    retries: RetriesDocument | None = None


class ControllerDocument(SettingsDocument):
    """One controller: where it hangs, and who it is."""

    port: Text = Field(
        description="Serial device path, rfc2217://HOST:PORT, socket://HOST:PORT, or sim://NAME.",
        examples=["/dev/serial/by-id/usb-FTDI_C1A-if00", "rfc2217://term.lab:4001", "sim://c1-a"],
    )
    hw: (
        Annotated[str, Field(pattern=r"^([0-9a-f]{2}){2,32}$", examples=["5a31c0de00000001"])]
        | None
    ) = Field(
        None,
        description="Hardware id that must answer on the port, as lower-case hex in quotes; "
        "swapped cables are refused.",
    )


class CryostatDocument(SettingsDocument):
    """One cryostat (or a rig at room temperature) and its controllers."""

    thermal: ThermalDocument | None = None
    controllers: dict[Name, ControllerDocument] = Field(
        min_length=1, description="Controllers by name; a name is unique in the whole fleet."
    )


class DefaultsDocument(SettingsDocument):
    """Settings of every cryostat and controller that does not say otherwise."""

    thermal: ThermalDocument | None = None


class WindowDocument(_Document):
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


class StageDocument(_Document):
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


class SimulatedMetricDocument(_Document):
    """What simulated controllers report for a metric."""

    nominal: Number = Field(description="Value of a healthy controller.")
    noise: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] = Field(
        0.0, description="Standard deviation of the readout noise."
    )


class SimulationDocument(_Document):
    """The simulated lab behind `sim://` ports; other ports ignore it."""

    seed: int = Field(1, ge=0, le=2**63 - 1, description="Same seed, same run, to the last byte.")
    metrics: dict[Name, SimulatedMetricDocument] = Field(
        default_factory=dict, description="By the names used in `calibration`."
    )


class FleetDocument(_Document):
    """A lab: its cryostats, their controllers, and the stages of every rollout."""

    schema_: Literal["cryofw.fleet/v1"] = Field(alias="schema", description="Format of this file.")
    lab: Text = Field(description="Name of the lab, in reports and journals.")
    board: Name | None = Field(None, description="Board type of every controller.")
    defaults: DefaultsDocument | None = None
    stages: list[StageDocument] = Field(min_length=1, description="In the order of the rollout.")
    cryostats: dict[Name, CryostatDocument] = Field(min_length=1, description="Cryostats by name.")
    simulation: SimulationDocument | None = None


def fleet_json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of fleet.yaml, for editors and offline checks."""
    schema: dict[str, Any] = FleetDocument.model_json_schema(by_alias=True)
    tidy: dict[str, Any] = _tidy(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **tidy,
    }


def _tidy(node: Any) -> Any:
    """Drop what pydantic adds for `| None`: a key is written with a value or not at all.

    Where keys are names, other keys are refused, as the loader does.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _tidy(value) for key, value in node.items()}
    if node.get("default", 0) is None:
        del node["default"]
    if isinstance(node.get("title"), str):
        del node["title"]
    if "patternProperties" in node:
        node["additionalProperties"] = False
    options = node.get("anyOf")
    if options and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del node["anyOf"]
        node = {**rest[0], **node} if len(rest) == 1 else {"anyOf": rest, **node}
    return node
