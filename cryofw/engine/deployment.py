"""The use cases behind `plan`, `deploy` and `resume`: survey the devices, plan, run."""

from __future__ import annotations

import asyncio
import math
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw import __version__
from cryofw.device import DeviceSilent, DeviceUnreachable
from cryofw.engine.admission import Admission
from cryofw.engine.calibration_command import calibration_commands
from cryofw.engine.coefficient_command import coefficient_commands
from cryofw.engine.cryostat_eyes import CryostatEyes, open_plan_telemetry, require_budgets
from cryofw.engine.engine import Engine
from cryofw.engine.hands import DeviceHands, wrong_serial
from cryofw.engine.lab_metrics import LabMetrics
from cryofw.engine.lab_standing import require_as_registered, require_free_to_go_back
from cryofw.engine.lease_keeper import LeaseKeeper
from cryofw.engine.log_shelf import LogShelf
from cryofw.engine.policy_change import require_remembered
from cryofw.engine.policy_store import PolicyStore, require_in_force
from cryofw.engine.site import unwrap
from cryofw.errors import CryofwError, Refused
from cryofw.rollout import DeviceState, Rollout, Running, connection_of
from cryofw.rollout import events as e
from cryofw.rollout.lab_planner import require_host
from cryofw.rollout.plan_check import untold_risks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from cryofw.device import DeviceDriver
    from cryofw.engine.home import Home
    from cryofw.engine.site import Site
    from cryofw.fleet import Controller
    from cryofw.image import PublicKey
    from cryofw.journal import Record
    from cryofw.rollout import Event, Plan, RolloutState, Step
    from cryofw.rollout.register import DeviceRegister

_AT_ONCE = 64
_ON_TRIAL = (DeviceState.WATCHED, DeviceState.HELD, DeviceState.FROZEN)


def require_owner(plan: Plan, names: Collection[str]) -> None:
    """Refuse to drive a device that fleet.yaml gives to another host.

    A device without a lease cannot tell two hosts apart; only its `owner:` can.

    Args:
        plan: whose devices.
        names: what this host is called.

    Raises:
        Refused: it names the devices and their host.
    """
    foreign = {
        name: device.connection.owner
        for name, device in plan.devices.items()
        if device.connection.owner and device.connection.owner not in names
    }
    if foreign:
        raise Refused(
            f"{' '.join(foreign)} belong to another host",
            why=f"fleet.yaml says owner: {' '.join(sorted(set(foreign.values())))}; "
            f"this is {' '.join(sorted(names))}",
            hint="run cryofw there, or correct `owner:`",
        )


def _require_open(state: RolloutState, events: Sequence[Event]) -> None:
    """An ended rollout is over: only a rollback opens it again."""
    if state.ended is None or any(isinstance(event, e.RollbackRequested) for event in events):
        return
    raise Refused(
        f"rollout {state.plan.rollout} has ended: {state.ended}",
        why=state.why,
        hint="make a new plan for another rollout of this release",
    )


def _require_started(home: Home, plan: Plan, records: Sequence[Record]) -> None:
    """What began in a retired journal is history: nothing is known here of how far it came."""
    rollout = plan.rollout
    if any(r.rollout == rollout and r.kind == e.RolloutStarted.kind for r in records):
        return
    before = {d.last_good.hash: d.last_good.version for d in plan.devices.values() if d.last_good}
    before.pop(plan.release.hash, None)
    ways = [
        f"`cryofw deploy {home.directory / 'images' / f'{image}.bin'} --downgrade` (to {version})"
        for image, version in before.items()
    ]
    raise Refused(
        f"rollout {rollout} is in a journal that was retired",
        why="only a rollout of this journal can go on or be taken back",
        hint="the image before it is a release of its own: "
        + (" or ".join(ways) or "`cryofw deploy OLDER.bin --downgrade`"),
    )


def _require_told(plan: Plan) -> None:
    """Risks stand in the plan that takes them: who starts or approves it reads them there.

    Raises:
        Refused: it takes one that it does not name; cryofw makes no such plan.
    """
    if untold := untold_risks(plan):
        raise Refused(
            "the plan takes risks that nobody has accepted in it",
            why="\n".join(untold),
            hint="it was edited: make a new plan",
        )


def _why_frozen(state: RolloutState, cryostat: str) -> str:
    guard = state.guards.get(cryostat)
    return guard.frozen if guard is not None else ""


async def survey(
    site: Site, controllers: Iterable[Controller], register: DeviceRegister | None = None
) -> dict[str, Running]:
    """Ask every controller who it is and what it runs; nothing is changed.

    Args:
        register: whose hardware was adopted; another one is then refused, as with fleet.yaml's.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(controller: Controller) -> tuple[str, Running]:
        async with gate:
            return controller.name, await _ask(site, controller, register)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(controller)) for controller in controllers]
    return dict(task.result() for task in asked)


async def _ask(site: Site, controller: Controller, register: DeviceRegister | None) -> Running:
    connection = connection_of(controller)
    hw = controller.hw or (register.pinned_hw(controller.name) if register else "")
    serial = register.pinned_serial(controller.name) if register else ""
    driver = site.driver(controller.name, connection, hw=hw, board=controller.board)
    try:
        report = await driver.check(0)
    except (DeviceSilent, DeviceUnreachable) as error:
        return Running(why=str(error))
    except CryofwError as error:
        return Running(why=str(error), refused=True)
    finally:
        await driver.close()
    seen = report.observation
    if not seen.active_hash:
        return Running(why="it does not tell which image it runs", refused=True)
    problems = [*wrong_serial(report.identity.serial_number, serial), *report.problems]
    return Running(
        hash=seen.active_hash or "",
        version=seen.active.version if seen.active else "",
        hw=report.identity.hw,
        slot_size=report.room,
        watchdog=report.identity.watchdog,
        why="; ".join(problems),
        refused=bool(problems),
        board=report.identity.board,
        serial=report.identity.serial_number,
        overwrites=report.overwrites,
        primary_size=report.primary_size,
    )


@dataclass
class Deployment:
    """One run of one rollout on a site.

    Args:
        home: where the journal lies.
        plan: what is rolled out.
        keys: the public keys that may have signed its images.
        who: the person or job that runs it, for the journal.
        on_record: told about each record once it is on disk.
        on_progress: told about uploads: device, bytes there, bytes in all.
        on_reading: told the state after each heartbeat and sample.
        on_refused: told what people asked for that the policy does not let them.
    """

    home: Home
    plan: Plan
    keys: Sequence[PublicKey]
    who: str
    on_record: Callable[[Step, Record], None] = lambda _step, _record: None
    on_progress: Callable[[str, int, int], None] = lambda _device, _sent, _total: None
    on_reading: Callable[[RolloutState], None] = lambda _state: None
    on_refused: Callable[[Event, CryofwError], None] = lambda _event, _why: None
    _engine: Engine | None = field(default=None, init=False)
    _pause_asked: bool = field(default=False, init=False)

    async def start(
        self,
        site: Site,
        until: str,
        overrides: Sequence[Event] = (),
        proof: Mapping[str, object] | None = None,
    ) -> RolloutState:
        """Start the rollout and run it to its pause or end.

        Args:
            overrides: guards that a person passes over, by name.
            proof: what the person signed who starts it, where a policy asks for that.

        Raises:
            ActRefused, SignatureInvalid: the policy in force does not let them.
            Refused: another rollout is open, this one was run already, or an error budget is
                spent and nobody overrode it.
        """
        self._require_images()
        release = self.plan.release
        first = e.RolloutStarted(
            self.plan.digest, release.hash, release.version, until, self.who, proof or {}
        )
        return await self._run(site, [first, *overrides], fresh=True)

    async def go_on(self, site: Site, events: Sequence[Event]) -> RolloutState:
        """Continue the rollout with what people said meanwhile; the last event is the resume.

        Raises:
            Refused: it has ended, and nobody asks for its rollback.
            VerificationFailed: an image of the plan is missing or damaged. What ends a rollout
                goes on without it: a stop, an abort and a rollback do what is left to do.
        """
        if all(isinstance(event, e.RolloutResumed) for event in events):
            self._require_images()
        return await self._run(site, events, fresh=False)

    def pause(self) -> bool:
        """Ask the running rollout to pause; False if that was asked before."""
        if self._pause_asked or self._engine is None:
            return False
        self._pause_asked = True
        self._engine.ask(e.PauseRequested(self.who))
        return True

    async def _run(self, site: Site, events: Sequence[Event], *, fresh: bool) -> RolloutState:
        require_owner(self.plan, {socket.gethostname(), socket.getfqdn()})
        with self.home.open_journal(site.clock, self.who) as journal:
            remembered = self.home.journal_home(self.plan.devices.values())
            remembered.require(journal)
            journal.on_commit = remembered.remember
            if fresh:
                self._require_no_other()
                require_host(self.plan, __version__)
                require_as_registered(self.plan, self.home.history().register)
                require_in_force(self.plan, require_remembered(self.home))
                _require_told(self.plan)
            readings = self.home.readings(self.plan.rollout)
            rollout = self.home.fold_rollout(self.plan, journal.records, readings)
            if not fresh:
                _require_started(self.home, self.plan, journal.records)
                _require_open(rollout.state, events)
                if any(isinstance(event, e.RollbackRequested) for event in events):
                    require_free_to_go_back(rollout.state, self.home.history().register)
            telemetry = open_plan_telemetry(self.plan, site)
            if fresh and telemetry is not None:
                first, *overrides = events
                events = [first, *await require_budgets(telemetry, overrides)]
            authorization = self.home.authorization(self.plan, journal)
            requests = self.home.requests(self.plan.rollout)
            if authorization is not None:
                admission = Admission(self.home, self.plan, authorization, self.on_refused)
                events = admission.events(rollout.state, journal.records, events)
                requests = admission.requests()
            if fresh:
                PolicyStore(self.home.storage).keep(self.plan)
                self.home.save_plan(self.plan)
            lab = LabMetrics(self.plan, telemetry.metrics, site.clock) if telemetry else None
            hands = self._hands(site, rollout, lab, token=journal.size + 1)
            self._engine = Engine(
                rollout,
                journal,
                hands,
                site.clock,
                readings,
                requests,
                self.on_record,
                self.on_reading,
                CryostatEyes(self.plan, telemetry.cryostats) if telemetry else None,
                LogShelf(self.home.storage, hands.log_lines),
            )
            try:
                await self._engine.run(events)
            except BaseExceptionGroup as group:
                raise unwrap(group) from group
            finally:
                if lab is not None:
                    await lab.close()
            return rollout.state

    def _require_images(self) -> None:
        """The release and every way back are at hand and verify, before anything is written."""
        store = self.home.image_store(self.keys)
        store.load(self.plan.release.slot_hash)
        for planned in self.plan.devices.values():
            if planned.last_good is not None:
                store.load_way_back(planned.last_good.hash)

    def _note(self, event: Event) -> None:
        assert self._engine is not None
        self._engine.note(event)

    def _require_no_other(self) -> None:
        history = self.home.history()
        shut_out = sorted(history.quarantine.keys() & self.plan.devices.keys())
        if shut_out:
            raise Refused(
                f"{' '.join(shut_out)} went into quarantine after the plan was made",
                why=history.quarantine[shut_out[0]].why,
                hint="make a new plan, or see to it and `cryofw quarantine clear`",
            )
        if self.plan.rollout in history.rollouts:
            raise Refused(
                f"the plan of rollout {self.plan.rollout} was run already",
                why=f"it is {history.rollouts[self.plan.rollout].word}",
                hint="make a new plan, or `cryofw resume`",
            )
        other = history.open_rollout
        if other is not None:
            raise Refused(
                f"rollout {other.rollout} of {other.version} is still open",
                why=other.why or f"it is {other.word}",
                hint=f"finish it with `cryofw resume {other.rollout}`, "
                f"or end it with `cryofw abort {other.rollout}`",
            )

    def _hands(
        self, site: Site, rollout: Rollout, lab: LabMetrics | None, token: int
    ) -> DeviceHands:
        drivers: dict[str, DeviceDriver] = {
            name: site.driver(name, planned.connection, hw=planned.hw, board=planned.board)
            for name, planned in self.plan.devices.items()
        }
        devices = rollout.state.devices.values()
        resumed = frozenset(d.name for d in devices if d.state is not DeviceState.PENDING)
        on_trial = frozenset(d.name for d in devices if d.state in _ON_TRIAL)
        leases = LeaseKeeper(
            self.plan, drivers, site.clock, owner=self.who, token=token, on_trial=on_trial
        )
        return DeviceHands(
            self.plan,
            drivers,
            self.home.image_store(self.keys),
            site.clock,
            leases=leases,
            note=self._note,
            lab=lab,
            calibrations=calibration_commands(self.plan, site),
            coefficients=coefficient_commands(self.plan, site),
            resumed=resumed,
            latest_t_s=max((max(d.beat_t_s, d.sample_t_s) for d in devices), default=-math.inf),
            frozen=lambda cryostat: _why_frozen(rollout.state, cryostat),
            on_progress=self.on_progress,
        )
