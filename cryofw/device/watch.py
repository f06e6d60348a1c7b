"""Reading a device while it is watched, and what it does on request for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.device.errors import (
    CalibrationFailed,
    ChangeNotSeen,
    ConnectionChanged,
    DeviceSilent,
    DeviceUnreachable,
)
from cryofw.device.examination import require_application
from cryofw.device.reading import (
    CalibrationReading,
    HeartbeatReading,
    HeartbeatSource,
    MetricsReading,
)
from cryofw.device.rejection import rejection, unsupported
from cryofw.smp import messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryofw.clock import Clock
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.target import Target


class Watch:
    """Takes one device's readings."""

    def __init__(self, target: Target, link: Link, examiner: Examiner, clock: Clock) -> None:
        self._target = target
        self._link = link
        self._examiner = examiner
        self._clock = clock
        self._echoes = 0
        self._last_metrics: tuple[int, Mapping[str, float]] | None = None

    async def heartbeat(self) -> HeartbeatReading:
        """Ask once for a sign of life: group 64, else echo and the image state.

        There is no second try: a heartbeat that was lost is a reading too.

        Raises:
            DeviceSilent, DeviceUnreachable: it missed.
            InRecovery: serial recovery answers, not the application.
            WrongDevice: another device sends heartbeats on this port.
        """
        answer, took_s = await self._link.exchange(
            messages.read_heartbeat(), attempts=1, patience_s=0
        )
        connection = self._link.connection
        if unsupported(answer.error):
            reading = await self._plain_heartbeat()
            await self._require_from_target(connection)
            return reading
        await self._require_from_target(connection)
        if answer.error is not None:
            raise rejection(self._target.name, "send a heartbeat", answer.error)
        beat = messages.Heartbeat.from_body(answer.body)
        return HeartbeatReading(
            source=HeartbeatSource.CRYO,
            active_hash=beat.image_hash.hex() or None,
            seq=beat.seq,
            up_ms=beat.up_ms,
            boot_id=beat.boot_id,
            reset_cause=beat.reset_cause,
            round_trip_s=took_s,
        )

    async def metrics(self, names: Sequence[str] = ()) -> MetricsReading:
        """Read the named metrics, or all.

        Raises:
            RequestFailed: the device has no group 64.
            DeviceSilent, DeviceUnreachable: no answer.
            WrongDevice: another device answers on this port.
        """
        body = await self._link.ask(messages.read_metrics(names), "tell its metrics")
        await self._require_from_target(self._link.connection)
        told = messages.Metrics.from_body(body)
        values, not_numbers = _finite(told.values)
        before, self._last_metrics = self._last_metrics, (told.t_ms, values)
        return MetricsReading(
            t_ms=told.t_ms,
            values=values,
            missing=tuple(name for name in names if name not in told.values),
            not_numbers=not_numbers,
            fresh=before is None or before[0] != told.t_ms,
        )

    async def _require_from_target(self, connection: int) -> None:
        """What was read on a connection counts only if the target is on it: cables get swapped."""
        if await self._examiner.require_same_device() != connection:
            raise ConnectionChanged(
                f"the port of {self._target.name} was opened anew",
                why="nobody knows which device answered before",
                hint="if it happens often, check the cable and the adapter.",
            )

    async def calibrate(
        self, run_id: int | None = None, *, timeout_s: float | None = None
    ) -> CalibrationReading:
        """Start a calibration run and wait for its end.

        Args:
            run_id: the run's id; the same id again continues to wait for that run. The next after
                the device's last if left out.
            timeout_s: how long it may take; the target's if left out.

        Raises:
            RequestFailed: the device has no group 64, or is busy.
            CalibrationFailed: the run did not end in time, or the device forgot it.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        started = self._clock.monotonic()
        last = await self._calibration()
        run_id = run_id if run_id is not None else last.run_id + 1
        if last.run_id != run_id:
            last = await self._start(run_id)
        if timeout_s is None:
            timeout_s = self._target.timeouts.calibration_s
        deadline = started + timeout_s
        while not last.done:
            if self._clock.monotonic() > deadline:
                raise self._calibration_failed(run_id, f"not done after {timeout_s:g} s")
            await self._clock.sleep(self._target.timeouts.poll_s)
            last = await self._calibration()
            if last.run_id != run_id:
                raise self._calibration_failed(run_id, "the device booted, or began another run")
        values, not_numbers = _finite(last.values)
        return CalibrationReading(run_id, values, not_numbers, self._clock.monotonic() - started)

    async def safe(self) -> None:
        """Put the front end into its safe state and see that it is.

        Raises:
            RequestFailed: the device has no group 64, or refused.
            ChangeNotSeen: it agreed, but is not safe.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        await self._examiner.command(messages.enter_safe_state(), "go into its safe state")
        body = await self._link.ask(messages.read_safe_state(), "tell whether it is safe")
        if not messages.SafeState.from_body(body).safe:
            raise ChangeNotSeen(
                f"{self._target.name} is not in its safe state",
                why="it agreed to go there, but says that it is not",
                hint="switch its heaters and drives off by hand.",
            )

    async def _plain_heartbeat(self) -> HeartbeatReading:
        self._echoes += 1
        text = f"cryofw-{self._echoes}"
        answer, took_s = await self._link.exchange(messages.echo(text), attempts=1, patience_s=0)
        if answer.error is not None:
            raise rejection(self._target.name, "echo", answer.error)
        if messages.EchoAnswer.from_body(answer.body).text != text:
            raise DeviceSilent(
                f"{self._target.name} echoes something else",
                why=f"sent {text!r}, got {messages.EchoAnswer.from_body(answer.body).text[:40]!r}",
                hint="does another program talk to the port?",
            )
        # An echo alone may come from the bootloader.
        seen = await self._examiner.observe(attempts=1)
        require_application(seen, self._target.name)
        return HeartbeatReading(
            source=HeartbeatSource.ECHO,
            active_hash=seen.active_hash,
            seq=None,
            up_ms=None,
            boot_id=None,
            reset_cause=None,
            round_trip_s=took_s,
        )

    async def _calibration(self) -> messages.Calibration:
        body = await self._link.ask(messages.read_calibration(), "tell its calibration")
        return messages.Calibration.from_body(body)

    async def _start(self, run_id: int) -> messages.Calibration:
        """Start a run; again only when the device shows that it did not start."""
        tries = self._target.retries.count + 1
        while True:
            tries -= 1
            failure: DeviceSilent | DeviceUnreachable | None = None
            try:
                await self._examiner.command(
                    messages.start_calibration(run_id), "start a calibration", attempts=1
                )
            except (DeviceSilent, DeviceUnreachable) as error:
                failure = error
            now = await self._calibration()
            if now.run_id == run_id:
                return now
            if failure is None:
                raise self._calibration_failed(run_id, f"it agreed, but shows run {now.run_id}")
            if not tries:
                raise failure
            self._link.count_repeat()

    def _calibration_failed(self, run_id: int, why: str) -> CalibrationFailed:
        return CalibrationFailed(
            f"calibration run {run_id} of {self._target.name} did not end",
            why=why,
            hint="its log lines may say why.",
        )


def _finite(values: Mapping[str, float]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Part the numbers from what is none."""
    good = {name: value for name, value in values.items() if math.isfinite(value)}
    return good, tuple(name for name in values if name not in good)
