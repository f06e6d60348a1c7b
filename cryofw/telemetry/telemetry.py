"""All sources of a fleet, opened: real ones, or a simulated lab in their place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryofw.telemetry.budget_source import BudgetReader
from cryofw.telemetry.cryostat_source import GuardReader
from cryofw.telemetry.http_client import HttpClient, read_token
from cryofw.telemetry.metric_source import MetricReader
from cryofw.telemetry.prometheus import PrometheusClient
from cryofw.telemetry.source import SourceReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.clock import Clock
    from cryofw.fleet import Fleet
    from cryofw.telemetry.port import (
        BudgetSource,
        CryostatSource,
        MetricSource,
        SimulatedReadings,
    )

_STALE_S = 60.0


@dataclass(frozen=True)
class Telemetry:
    """What the lab measures: metrics of controllers, states of cryostats, error budgets."""

    metrics: MetricSource
    cryostats: CryostatSource
    budgets: BudgetSource
    prometheus: PrometheusClient | None = None


def open_telemetry(
    fleet: Fleet,
    clock: Clock,
    *,
    environ: Mapping[str, str] | None = None,
    lab: SimulatedReadings | None = None,
) -> Telemetry:
    """The real sources of `fleet`; nothing is asked yet. For real time only: it uses threads.

    Args:
        fleet: names server, queries and commands.
        clock: whose time readings carry, and whose sleep separates attempts.
        environ: where the token is; default: the environment of this process.
        lab: answers for `source: simulated` where some ports are `sim://`.

    Raises:
        AccessDenied: the token is not in the environment.
        BadInput: the CA file cannot be read.
    """
    client = open_prometheus(fleet, clock, environ=environ)
    stale_s = fleet.prometheus.stale_s if fleet.prometheus else _STALE_S
    reader = SourceReader(client, clock)
    return Telemetry(
        MetricReader(reader, clock, lab),
        GuardReader(reader, clock, lab),
        BudgetReader(fleet.error_budgets, stale_s, reader, clock, lab),
        client,
    )


def open_prometheus(
    fleet: Fleet, clock: Clock, *, environ: Mapping[str, str] | None = None
) -> PrometheusClient | None:
    """A client of the server that `fleet` names, or None if it names none.

    Raises:
        AccessDenied, BadInput: as `open_telemetry`.
    """
    server = fleet.prometheus
    if server is None:
        return None
    token = None
    if server.token_env is not None:
        token = read_token(server.token_env, os.environ if environ is None else environ)
    ca = None
    if server.ca is not None:
        ca = str(Path(fleet.source_path).parent / Path(server.ca).expanduser())
    http = HttpClient(server.url, token=token, ca=ca, timeout_s=server.timeout_s)
    return PrometheusClient(http, clock)


def simulated_telemetry(fleet: Fleet, clock: Clock, lab: SimulatedReadings) -> Telemetry:
    """`lab` in place of every source of `fleet`: for virtual time, which has no others."""
    return Telemetry(
        MetricReader(None, clock, lab),
        GuardReader(None, clock, lab),
        BudgetReader(fleet.error_budgets, _STALE_S, None, clock, lab),
    )
