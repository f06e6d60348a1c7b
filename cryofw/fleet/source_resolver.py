"""From sources, guards and telemetry as written to those that are used."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryofw.fleet import source as resolved
from cryofw.fleet import source_document as documents
from cryofw.fleet.document import Problem
from cryofw.fleet.promql import fill_promql
from cryofw.fleet.settings import at_path, read_piece

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet.document import Document, Path
    from cryofw.fleet.settings import Layers

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_NEEDS = {"prometheus": "query", "command": "run"}
_EXAMPLE = {
    "prometheus": "for example query: 'temperature_kelvin{cryostat=\"${cryostat}\"}'",
    "command": 'for example run: [/usr/local/bin/fridge, "${cryostat}"]',
}


@dataclass
class SourceResolver:
    """Resolves the sources of one document; `problems` collects what is wrong with them."""

    document: Document
    problems: list[Problem] = field(default_factory=list)

    def report(self, path: Path, message: str, hint: str = "", *, on_key: bool = False) -> None:
        """Collect a defect."""
        self.problems.append(Problem(path, message, hint, on_key))

    def fill_command(
        self, command: list[str], values: Mapping[str, str], path: Path, what: str
    ) -> tuple[str, ...] | None:
        """`command` with its placeholders replaced, or None if one is unknown."""
        for argument in command:
            for placeholder in _PLACEHOLDER.findall(argument):
                if placeholder not in values:
                    known = " and ".join(f"${{{name}}}" for name in sorted(values))
                    message = f"the {what} uses the unknown `${{{placeholder}}}`"
                    self.report(path, message, f"known are {known}")
                    return None
        return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], one) for one in command)

    def source(
        self,
        layers: Layers,
        holder: tuple[str, ...],
        written: documents.GuardDocument | documents.MetricSourceDocument,
        values: Mapping[str, str],
    ) -> resolved.Source | None:
        """The source at `holder`, or None if it is incomplete or there is none."""
        kind = written.source
        needed = _NEEDS.get(kind or "")
        if needed is not None and getattr(written, needed) is None:
            message = f"`source: {kind}` lacks `{needed}`"
            self.report(layers.origin(*holder, "source"), message, _EXAMPLE[kind or ""])
            return None
        self._check_unused(layers, holder, kind or "device", needed)
        stale_s = written.stale or self._default_stale_s()
        if kind == "prometheus":
            assert written.query is not None
            if at_path(self.document.value, ("telemetry", "prometheus")) is None:
                message = "no Prometheus server is named: `telemetry.prometheus` is missing"
                hint = "telemetry: {prometheus: {url: https://prometheus.lab}}"
                self.report(layers.origin(*holder, "source"), message, hint)
            return resolved.FromPrometheus(fill_promql(written.query, values), stale_s)
        if kind == "command":
            assert written.run is not None
            path = layers.origin(*holder, "run")
            run = self.fill_command(written.run, values, path, "command")
            timeout_s = written.timeout or resolved.COMMAND_TIMEOUT_S
            return resolved.FromCommand(run, stale_s, timeout_s) if run else None
        return resolved.FromSimulation() if kind == "simulated" else resolved.FromDevice()

    def _check_unused(
        self, layers: Layers, holder: tuple[str, ...], kind: str, needed: str | None
    ) -> None:
        """A query without its source is a mistake, unless a nearer layer chose another source."""
        chosen = layers.depth(*holder, "source")
        for key in _NEEDS.values():
            if key != needed and layers.depth(*holder, key) >= max(chosen, 0):
                hint = next(f"write source: {name}" for name, one in _NEEDS.items() if one == key)
                path = layers.origin(*holder, key)
                self.report(path, f"`{key}` without its `source`: it is {kind}", hint, on_key=True)

    def _default_stale_s(self) -> float:
        raw = at_path(self.document.value, ("telemetry", "prometheus"))
        written = read_piece(documents.PrometheusDocument, raw)
        return (written.stale if written else None) or resolved.STALE_S

    def guards(self, layers: Layers, values: Mapping[str, str]) -> resolved.Guards | None:
        """The guards of a cryostat, or None if one cannot be resolved."""
        written = layers.read("guards", documents.GuardsDocument)
        if written is None:
            return None
        before = len(self.problems)
        guards = resolved.Guards(
            self._temperature(layers, written.temperature, values),
            self._fridge(layers, written.fridge, values),
            self._experiment(layers, written.experiment, values),
        )
        return guards if len(self.problems) == before else None

    def _guard_source(
        self,
        layers: Layers,
        name: str,
        written: documents.GuardDocument | None,
        values: Mapping[str, str],
    ) -> resolved.Source | None:
        if written is None or written.source == "none":
            return None
        if written.source is None:
            message = f"`guards.{name}` lacks `source`"
            hint = "prometheus, command, simulated, or none"
            self.report(layers.origin("guards", name), message, hint, on_key=True)
            return None
        return self.source(layers, ("guards", name), written, values)

    def _temperature(
        self,
        layers: Layers,
        written: documents.TemperatureDocument | None,
        values: Mapping[str, str],
    ) -> resolved.TemperatureGuard | None:
        source = self._guard_source(layers, "temperature", written, values)
        if source is None or written is None:
            return None
        limit, hard = written.limit, written.hard_limit
        if limit is not None and hard is not None and hard <= limit:
            message = f"`hard_limit` ({hard:g} K) must be above `limit` ({limit:g} K)"
            hint = "`limit` freezes the rollout, `hard_limit` forbids even a reset that reverts"
            self.report(layers.origin("guards", "temperature", "hard_limit"), message, hint)
        over_s, every_s = written.over or 120.0, written.every or 10.0
        if over_s < 2 * every_s:
            message = (
                f"a slope over {over_s:g} s needs a reading more often than every {every_s:g} s"
            )
            at = layers.origin("guards", "temperature", "over")
            self.report(at, message, "`over` is at least twice `every`")
        return resolved.TemperatureGuard(source, limit, hard, written.slope, over_s, every_s)

    def _fridge(
        self, layers: Layers, written: documents.FridgeDocument | None, values: Mapping[str, str]
    ) -> resolved.FridgeGuard | None:
        source = self._guard_source(layers, "fridge", written, values)
        if source is None or written is None:
            return None
        if not written.base_stable:
            message = "`guards.fridge` lacks `base_stable`"
            hint = "for example base_stable: [base-stable], or the numbers that mean it"
            self.report(layers.origin("guards", "fridge"), message, hint, on_key=True)
            return None
        states = tuple(str(state) for state in written.base_stable)
        return resolved.FridgeGuard(source, states, written.label)

    def _experiment(
        self,
        layers: Layers,
        written: documents.ExperimentDocument | None,
        values: Mapping[str, str],
    ) -> resolved.ExperimentGuard | None:
        source = self._guard_source(layers, "experiment", written, values)
        return resolved.ExperimentGuard(source) if source else None

    def prometheus(self) -> resolved.Prometheus | None:
        """The server of `telemetry`, or None if there is none or it cannot be used."""
        raw = at_path(self.document.value, ("telemetry", "prometheus"))
        written = read_piece(documents.PrometheusDocument, raw)
        if written is None:
            return None
        at: Path = ("telemetry", "prometheus", "url")
        defect = _url_defect(written.url, has_token=written.token_env is not None)
        if defect:
            self.report(at, *defect)
            return None
        if written.ca is not None and not written.url.lower().startswith("https:"):
            message = "`ca` is for https, the url is http"
            self.report((*at[:-1], "ca"), message, "write https://", on_key=True)
        return resolved.Prometheus(
            written.url.rstrip("/"),
            written.token_env,
            written.ca,
            written.timeout or 10.0,
            written.stale or resolved.STALE_S,
        )

    def error_budgets(self) -> tuple[resolved.ErrorBudget, ...]:
        """The error budgets that can be resolved."""
        raw = at_path(self.document.value, ("error_budget",))
        found: dict[str, resolved.ErrorBudget] = {}
        for index, one in enumerate(raw if isinstance(raw, list) else ()):
            written = read_piece(documents.ErrorBudgetDocument, one)
            if written is None:
                continue
            at: Path = ("error_budget", index)
            if written.name in found:
                self.report((*at, "name"), f"two error budgets are called `{written.name}`")
            if at_path(self.document.value, ("telemetry", "prometheus")) is None:
                message = "no Prometheus server is named: `telemetry.prometheus` is missing"
                hint = "telemetry: {prometheus: {url: https://prometheus.lab}}"
                self.report((*at, "query"), message, hint)
            query = fill_promql(written.query, {})
            budget = resolved.ErrorBudget(written.name, query, written.at_least, written.at_most)
            found[written.name] = budget
        return tuple(found.values())


def _url_defect(url: str, *, has_token: bool) -> tuple[str, str] | None:
    """Message and hint, if `url` cannot be the base of Prometheus' API."""
    example = "for example https://prometheus.lab:9090"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return f"`{url}` is not a URL", example
    if parts.scheme not in {"http", "https"} or not host or any(c.isspace() for c in url):
        return f"`{url}` is not an http or https URL", example
    if parts.username is not None or parts.password is not None:
        return "a URL in this file may hold no password", "put a token into `token_env`'s variable"
    if parts.query or parts.fragment:
        return f"`{url}` has a query or a fragment", example
    if has_token and parts.scheme == "http" and not is_loopback(host):
        return f"the token would travel to {host} for everybody to read", "write https://"
    return None


def is_loopback(host: str) -> bool:
    """Whether `host` is this computer, by name or by address."""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d+){3}", host) is not None
