"""Where readings come from, and the guards of a cryostat, as fleet.yaml writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from cryofw.fleet.promql import PromqlError, check_promql
from cryofw.fleet.strict_document import Command, Duration, Name, Slope, StrictDocument, Temperature

if TYPE_CHECKING:
    from collections.abc import Callable

CRYOSTAT_PLACEHOLDERS = ("cryostat", "stage")
CONTROLLER_PLACEHOLDERS = ("controller", *CRYOSTAT_PLACEHOLDERS)


def _promql(known: tuple[str, ...]) -> Callable[[str], str]:
    def read(value: str) -> str:
        try:
            check_promql(value, known)
        except PromqlError as error:
            context = {"message": str(error), "hint": error.hint}
            raise PydanticCustomError("promql", "{message}", context) from None
        return value

    return read


_Query = Annotated[str, Field(min_length=1, max_length=2000)]
FleetQuery = Annotated[_Query, AfterValidator(_promql(()))]
CryostatQuery = Annotated[_Query, AfterValidator(_promql(CRYOSTAT_PLACEHOLDERS))]
ControllerQuery = Annotated[_Query, AfterValidator(_promql(CONTROLLER_PLACEHOLDERS))]

_RUN = (
    "Command of the lab, as a list of arguments, for `source: command`; it prints JSON. "
    "Placeholders as in `query`."
)
_STALE = (
    "An older reading counts as none; default: that of `telemetry.prometheus`, or 1 min. Readings "
    "of a command are as old as the `t` it prints."
)
_TIMEOUT = "The command is ended after this long; default 10 s."


class GuardDocument(StrictDocument):
    """What all guards of a cryostat have: a source. `none` alone is short for no guard."""

    source: Literal["prometheus", "command", "simulated", "none"] | None = Field(
        None,
        description="prometheus (with `query`), command (with `run`), simulated (the lab behind "
        "sim:// ports), or none: no such guard here.",
    )
    query: CryostatQuery | None = Field(
        None,
        description="PromQL for `source: prometheus`; `${cryostat}` and `${stage}` are replaced, "
        "inside quotes. It gives one series.",
    )
    run: Command | None = Field(None, description=_RUN)
    stale: Duration | None = Field(None, description=_STALE)
    timeout: Duration | None = Field(None, description=_TIMEOUT)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "none":
            return {"source": "none"}
        context = {"message": f"`{value}` is not a guard", "hint": "write `none`, or {source: ...}"}
        raise PydanticCustomError("guard", "{message}", context)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The mapping, or the short form."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        description = mapping.pop("description", "")
        return {"description": description, "anyOf": [{"const": "none"}, mapping]}


class TemperatureDocument(GuardDocument):
    """Interlock on the stage's temperature, in kelvin, and on how fast it changes."""

    limit: Temperature | None = Field(
        None, description="Warmer than this, the rollout freezes: nothing is flashed or reset."
    )
    hard_limit: Temperature | None = Field(
        None, description="Warmer than this, not even a reset that reverts is sent."
    )
    slope: Slope | None = Field(
        None, description="Warming or cooling faster than this freezes the rollout too."
    )
    over: Duration | None = Field(
        None, description="Time over which the slope is measured; default 2 min."
    )
    every: Duration | None = Field(None, description="Time between two readings; default 10 s.")


class FridgeDocument(GuardDocument):
    """Gate on the fridge's state: anything but base-stable forbids to flash."""

    label: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] | None = Field(
        None,
        description="The query gives one series for each state, as OpenMetrics state sets do, and "
        "this label of the one with value 1 is the state. Default: the value is the state.",
    )
    base_stable: list[Name | int] | None = Field(
        None, min_length=1, description="The states that mean base-stable: names or whole numbers."
    )


class ExperimentDocument(GuardDocument):
    """Gate on experiments: who holds a lease on the cryostat keeps rollouts out of it.

    A command prints {"owner": "anna", "expires": "2026-11-20T22:00:00Z", "token": 17}, or
    {"owner": null} when nobody holds it. A query gives the expiry in seconds since 1970, with the
    labels `owner` and `token`; 0 means nobody. No answer is not an answer: it keeps rollouts out.
    """


class GuardsDocument(StrictDocument):
    """Guards of a cryostat; `none` alone takes away all that `defaults` set."""

    temperature: TemperatureDocument | None = None
    fridge: FridgeDocument | None = None
    experiment: ExperimentDocument | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value == "none":
            return {}
        context = {
            "message": f"`{value}` is not a set of guards",
            "hint": "write `none`, or {temperature: {source: ...}}",
        }
        raise PydanticCustomError("guards", "{message}", context)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The mapping, or the short form."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        description = mapping.pop("description", "")
        return {"description": description, "anyOf": [{"const": "none"}, mapping]}


class MetricSourceDocument(StrictDocument):
    """Where a metric is read."""

    source: Literal["device", "prometheus", "command"] | None = Field(
        None,
        description="device (SMP group 64; the default), prometheus (with `query`) or command "
        "(with `run`).",
    )
    query: ControllerQuery | None = Field(
        None,
        description="PromQL for `source: prometheus`, in the metric's unit; `${controller}`, "
        "`${cryostat}` and `${stage}` are replaced, inside quotes. It gives one series.",
    )
    run: Command | None = Field(
        None,
        description=f'{_RUN} A number, {{"value": 27.1, "t": "2026-11-20T21:07:03Z"}}, or '
        '{"values": {NAME: 27.1}} for all metrics with the same command, which runs once.',
    )
    stale: Duration | None = Field(None, description=_STALE)
    timeout: Duration | None = Field(None, description=_TIMEOUT)


class PrometheusDocument(StrictDocument):
    """The Prometheus server of the lab, or what speaks its HTTP API."""

    url: Annotated[str, Field(min_length=1, max_length=500)] = Field(
        description="Where its HTTP API begins, without /api/v1.",
        examples=["https://prometheus.lab", "http://localhost:9090"],
    )
    token_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")] | None = Field(
        None, description="Environment variable that holds the bearer token; needs https."
    )
    ca: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None, description="PEM file of the lab's own CA; relative to this file."
    )
    timeout: Duration | None = Field(None, description="For one request; default 10 s.")
    stale: Duration | None = Field(
        None, description="A sample older than this counts as none; default 1 min."
    )


class TelemetryDocument(StrictDocument):
    """Where the lab's measurements live."""

    prometheus: PrometheusDocument | None = None


class ErrorBudgetDocument(StrictDocument):
    """A rollout is refused while this is not kept; a person may override it, on record."""

    name: Name = Field(description="Unique name, for people and the journal.")
    query: FleetQuery = Field(
        description="PromQL that gives one series.",
        examples=["1 - sum(increase(misses_total[28d])) / sum(increase(beats_total[28d]))"],
    )
    at_least: float | None = Field(
        None, allow_inf_nan=False, description="The budget is kept while the value is not below."
    )
    at_most: float | None = Field(
        None, allow_inf_nan=False, description="The budget is kept while the value is not above."
    )

    @model_validator(mode="after")
    def _one_bound(self) -> ErrorBudgetDocument:
        if (self.at_least is None) == (self.at_most is None):
            context = {
                "message": f"`{self.name}` needs one of `at_least` and `at_most`",
                "hint": "for example at_least: 0.999",
            }
            raise PydanticCustomError("budget", "{message}", context)
        return self
