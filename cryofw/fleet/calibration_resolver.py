"""From the evidence that fleet.yaml asks for, as written, to the contract of each controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.fleet import controller_document as controllers
from cryofw.fleet.fleet import CalibrationContract, Metric
from cryofw.fleet.settings import at_path, read_piece, require
from cryofw.fleet.source import CALIBRATION_TIMEOUT_S, CalibrationTest, Recalibration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.fleet.settings import Layers
    from cryofw.fleet.source_resolver import SourceResolver

_METRIC_HINT = "for example {unit: dB, worse: lower, margin: 0.5, reject: 1.5}"


@dataclass
class CalibrationResolver:
    """Resolves the calibration contracts of one document."""

    sources: SourceResolver

    def contract(self, layers: Layers, cryostat: str, name: str) -> CalibrationContract | None:
        """The contract of the controller `name`, or None if it cannot be resolved."""
        for layer in layers.paths[1:]:
            path = (*layer, "calibration", "false_rollback")
            if path in self.sources.document.values:
                message = "`false_rollback` is one budget for the whole rollout"
                self.sources.report(path, message, "set it under `defaults` only", on_key=True)
        stage = at_path(layers.merged("thermal"), ("stage",))
        values = {"controller": name, "cryostat": cryostat, "stage": str(stage or "")}
        metrics = self._metrics(layers, values)
        written = layers.read("calibration", controllers.CalibrationDocument)
        recalibration = self._recalibration(layers, written, values)
        if written is None or metrics is None or recalibration is None:
            return None
        fallback = CalibrationContract()
        return CalibrationContract(
            written.false_rollback or fallback.false_rollback,
            written.every or fallback.every_s,
            written.min_samples or fallback.min_samples,
            written.baseline_samples or fallback.baseline_samples,
            metrics,
            CalibrationTest(written.test or fallback.test),
            written.settle or fallback.settle_s,
            recalibration,
            written.hold,
        )

    def _recalibration(
        self,
        layers: Layers,
        written: controllers.CalibrationDocument | None,
        values: Mapping[str, str],
    ) -> Recalibration | None:
        if written is None or written.recalibrate is None:
            return Recalibration()
        device, command = bool(written.recalibrate.device), written.recalibrate.command
        timeout_s = written.recalibrate.timeout or CALIBRATION_TIMEOUT_S
        if command is None:
            return Recalibration(device, timeout_s=timeout_s)
        path = layers.origin("calibration", "recalibrate", "command")
        if device:
            message = "either the device calibrates itself or the command does"
            self.sources.report(path, message, "write `device`, or {command: [...]}", on_key=True)
        filled = self.sources.fill_command(command, values, path, "command")
        return Recalibration(command=filled, timeout_s=timeout_s) if filled else None

    def _metrics(self, layers: Layers, values: Mapping[str, str]) -> dict[str, Metric] | None:
        """Every metric on its own, so that a broken one does not hide another."""
        raw = at_path(layers.merged("calibration"), ("metrics",))
        metrics: dict[str, Metric] = {}
        complete = True
        for name, value in raw.items() if isinstance(raw, dict) else ():
            written = read_piece(controllers.MetricDocument, value)
            metric = self._metric(layers, name, written, values) if written is not None else None
            complete = complete and metric is not None
            if metric is not None:
                metrics[name] = metric
        return metrics if complete else None

    def _metric(
        self,
        layers: Layers,
        name: str,
        written: controllers.MetricDocument,
        values: Mapping[str, str],
    ) -> Metric | None:
        holder = ("calibration", "metrics", name)
        needed = ("unit", "worse", "margin", "reject")
        missing = require(layers, holder, written, needed, _METRIC_HINT)
        self.sources.problems += missing
        if missing:
            return None
        assert written.unit is not None
        assert written.worse is not None
        assert written.margin is not None
        assert written.reject is not None
        if written.reject <= written.margin:
            message = (
                f"`reject` ({written.reject:g}) of `{name}` must be larger than its `margin` "
                f"({written.margin:g})"
            )
            hint = "`margin` is what is still as good as before, `reject` is what must be found"
            self.sources.report(layers.origin(*holder, "reject"), message, hint)
            return None
        source = self.sources.source(layers, holder, written, values)
        if source is None:
            return None
        return Metric(
            written.unit,
            written.worse,
            written.margin,
            written.reject,
            written.limit,
            written.golden,
            source,
        )
