"""Cryostats and controllers as fleet.yaml writes them: pydantic models of their settings.

Everything that `defaults`, a cryostat and a controller may set is optional here, because the three
are merged by key; what must be set after the merge is checked in `resolve`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from cryofw.fleet.source_document import GuardsDocument, MetricSourceDocument
from cryofw.fleet.strict_document import (
    Command,
    Duration,
    Name,
    Number,
    Pause,
    PositiveNumber,
    Power,
    Share,
    Size,
    StrictDocument,
    Temperature,
    Text,
)


class HeartbeatDocument(StrictDocument):
    """How a controller shows that it lives."""

    every: Duration | None = Field(None, description="Time between two heartbeats.")
    timeout: Duration | None = Field(
        None, description="An answer later than this is a miss; default: `every`, at most 2 s."
    )
    misses_allowed: int | None = Field(
        None, ge=0, le=1000, description="Misses in a row that are still fine; default 4."
    )


LineStepText = Annotated[
    str,
    Field(
        pattern=r"^(dtr (on|off)( rts (on|off))?|rts (on|off)( dtr (on|off))?"
        r"|[0-9]{1,4}(\.[0-9]{1,3})? ?(ms|s))$"
    ),
]


class ResetDocument(StrictDocument):
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
    lines: list[LineStepText] | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="Steps on DTR and RTS of the port that reset the board: `rts on`, "
        "`dtr off rts on`, `100 ms`; for local ports and rfc2217://.",
        examples=[["rts on", "100 ms", "rts off"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "watchdog":
            return {"watchdog": True}
        hint = "write `watchdog`, {hook: [COMMAND, ...]} or {lines: [STEP, ...]}"
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


class ThermalDocument(StrictDocument):
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


class MetricDocument(MetricSourceDocument):
    """One calibration figure, where it is read, and how much worse it may get."""

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
    golden: Number | None = Field(
        None,
        description="Baseline that releases cannot walk away from: worse than this by `reject` is "
        "refused, however good the baseline before the update was.",
    )


class RecalibrateDocument(StrictDocument):
    """What calibrates a controller: before its baseline, before it is judged, after its return.

    `device` alone: the controller itself, over SMP group 64; `none` alone: nothing does.
    """

    command: Command | None = Field(
        None,
        description="Command of the lab, as a list of arguments; `${controller}`, `${cryostat}` "
        "and `${stage}` are replaced. It exits with 0 when the controller is calibrated.",
    )
    device: bool | None = Field(None, description="The controller does it: SMP group 64.")
    timeout: Duration | None = Field(
        None, description="A calibration that takes longer has failed; default 5 min."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value in {"device", "none"}:
            return {"device": value == "device"}
        context = {
            "message": f"`{value}` recalibrates nothing",
            "hint": "write `device`, `none`, or {command: [COMMAND, ...]}",
        }
        raise PydanticCustomError("recalibrate", "{message}", context)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The mapping, or a short form."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        description = mapping.pop("description", "")
        return {"description": description, "anyOf": [{"enum": ["device", "none"]}, mapping]}


class CalibrationDocument(StrictDocument):
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
    test: Literal["rank", "t-mixture"] | None = Field(
        None,
        description="rank (the default) asks nothing of the noise; t-mixture takes it for Gaussian "
        "and finds small shifts a little sooner.",
    )
    settle: Pause | None = Field(
        None,
        description="After the boot into the new image nothing is judged for this long; default 0.",
    )
    recalibrate: RecalibrateDocument | None = None
    hold: Duration | None = Field(
        None,
        description="A held controller waits this long for a person, then it is rolled back; "
        "default: the `deadline` of its stage.",
    )
    metrics: dict[Name, MetricDocument] | None = Field(None, description="Metrics by name.")


class CoefficientsDocument(StrictDocument):
    """Who writes the calibration coefficients that a release carries.

    `device` alone, the default: cryofw does, by SMP group 3.
    """

    command: Command | None = Field(
        None,
        description="Command of the lab, as a list of arguments; `${controller}`, `${cryostat}` "
        "and `${stage}` are replaced. `read`, `set` or `restore` follows as its last argument, "
        "the coefficients as JSON on its standard input; what it sets stays over a reset.",
    )
    device: Literal[True] | None = Field(None, description="The controller keeps them as settings.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "device":
            return {"device": True}
        context = {
            "message": f"`{value}` writes no coefficients",
            "hint": "write `device`, or {command: [COMMAND, ...]}",
        }
        raise PydanticCustomError("coefficients", "{message}", context)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The mapping, or the short form."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        description = mapping.pop("description", "")
        return {"description": description, "anyOf": [{"const": "device"}, mapping]}


class BootloaderDocument(StrictDocument):
    """How the bootloader was built, where the device does not tell it."""

    mode: Literal["swap", "overwrite-only"] | None = Field(
        None,
        description="overwrite-only: no test boot, and nothing to revert to; default: what the "
        "device says. What it says otherwise is refused.",
    )
    compressed: Literal["lzma2", "lzma2-arm-thumb"] | None = Field(
        None,
        description="It unpacks images of `cryofw sign --compress` (the second: both kinds), which "
        "only an overwrite-only one does. No device tells that; default: it does not.",
    )


class RetriesDocument(StrictDocument):
    """How often a request that got no answer is repeated."""

    count: int | None = Field(None, ge=0, le=100, description="Repetitions; default 3.")
    backoff: Pause | None = Field(
        None, description="Pause before the first repetition, doubled each time; default 1 s."
    )


class SettingsDocument(StrictDocument):
    """What `defaults`, a cryostat and a controller may all set; the nearest wins, key by key."""

    board: Name | None = Field(None, description="Board type that the device must report.")
    baud: int | None = Field(
        None, ge=300, le=12_000_000, description="Bits per second of the port; default 115200."
    )
    framing: Literal["auto", "console", "raw"] | None = Field(
        None,
        description="How SMP messages lie on the line: `console` (base64 lines between log lines), "
        "`raw` (bare, Zephyr's raw UART transport), or `auto`, the default: console, and raw if "
        "nothing was ever heard so.",
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
    coefficients: CoefficientsDocument | None = None
    bootloader: BootloaderDocument | None = None
    retries: RetriesDocument | None = None


class ControllerDocument(SettingsDocument):
    """One controller: where it hangs, and who it is."""

    port: Text = Field(
        description="Serial device path, rfc2217://HOST:PORT, socket://HOST:PORT, sim://NAME, or "
        "tls://HOST:PORT?ca=FILE&cert=FILE&key=FILE&name=NAME (encrypted; see docs/operating.md).",
        examples=["/dev/serial/by-id/usb-FTDI_C1A-if00", "tls://gate.lab:4001", "sim://c1-a"],
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
    guards: GuardsDocument | None = None
    controllers: dict[Name, ControllerDocument] = Field(
        min_length=1, description="Controllers by name; a name is unique in the whole fleet."
    )


class DefaultsDocument(SettingsDocument):
    """Settings of every cryostat and controller that does not say otherwise."""

    thermal: ThermalDocument | None = None
    guards: GuardsDocument | None = None
