"""`cryofw plan`, `deploy` and `resume`: a signed image to a whole lab, stage by stage."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.coefficientview import (
    coefficients_option,
    read_coefficients,
    require_same_coefficients,
)
from cryofw.cli.file import read_file, refuse_existing, write_file
from cryofw.cli.foresightview import foresight_json
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.options import PATH, force_option, json_option, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.policydesk import (
    authority_to_resume,
    authority_to_start,
    follow_policy,
    requester_name,
    sign_overrides,
    under_policy,
)
from cryofw.cli.rangechoice import NO_RANGES, Ranges, range_options, read_ranges
from cryofw.cli.releasechoice import (
    ChosenFirmware,
    choose_firmware,
    release_options,
    release_wish,
    require_fresh,
)
from cryofw.cli.rolloutrun import Runner, ask
from cryofw.cli.rolloutview import show_plan
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.deployment import survey
from cryofw.engine.home import Home
from cryofw.engine.site import run_on_site
from cryofw.errors import Refused, UsageError
from cryofw.fleet import load_fleet
from cryofw.health import in_short
from cryofw.release import admit
from cryofw.release.trust import require_not_revoked
from cryofw.rollout import Ending, Plan, Wish, make_plan, parse_plan
from cryofw.rollout import cryostat_events as ce
from cryofw.rollout.foresight import foresee, past_baselines
from cryofw.rollout.planner import DOWNGRADE, NO_RESET_PATH, NO_WAY_BACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.fleet import Fleet
    from cryofw.image import PublicKey
    from cryofw.release import Firmware
    from cryofw.release.coefficients import Coefficients
    from cryofw.rollout import History, RolloutSummary
    from cryofw.rollout.foresight import Foresight

fleet_option = click.option(
    "--fleet",
    "fleet_path",
    type=PATH,
    default=Path("fleet.yaml"),
    show_default=True,
    envvar="CRYOFW_FLEET",
    show_envvar=True,
    help="The lab: cryostats, controllers, stages.",
)
last_good_option = click.option(
    "--last-good",
    "last_good",
    type=PATH,
    multiple=True,
    help="Signed file of an image that runs now: the way back. May be repeated.",
)
no_way_back_option = click.option(
    "--no-way-back", multiple=True, metavar="DEVICE", help="Accept that DEVICE cannot go back."
)
no_reset_option = click.option(
    "--no-reset-path", multiple=True, metavar="DEVICE", help="Accept that DEVICE may hang for good."
)
downgrade_option = click.option(
    "--downgrade", is_flag=True, help="Allow an older version than the one that runs."
)
stage_option = click.option(
    "--stage", metavar="NAME", default="", help="Stop once this stage has passed."
)
override_experiment_option = click.option(
    "--override-experiment",
    multiple=True,
    metavar="CRYOSTAT",
    help="Flash CRYOSTAT although an experiment holds it now; needs --why.",
)
override_budget_option = click.option(
    "--override-error-budget",
    is_flag=True,
    help="Begin although an error budget is spent; needs --why.",
)
why_option = click.option(
    "--why", default="", help="The reason for an override or exception, for the record."
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Agree beforehand; approve nothing.")


_GOING_FORWARD = ("approval", "stage", "window")
"""What only a rollout waits for that is not being taken back: that is finished in any case."""


def planning_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options from which a plan is made."""
    for option in (
        downgrade_option,
        no_reset_option,
        no_way_back_option,
        last_good_option,
        range_options,
        coefficients_option,
        fleet_option,
    ):
        command = option(command)
    return command


def prepare(
    home: Home,
    chosen: ChosenFirmware,
    keys: list[PublicKey],
    fleet: Fleet,
    last_good: tuple[Path, ...],
    overrides: dict[str, tuple[str, ...]],
    coefficients: Coefficients | None = None,
    ranges: Ranges = NO_RANGES,
) -> Plan:
    """Verify, survey the devices, and plan; nothing is changed on any device.

    Raises:
        PlanRefused: with every reason why not.
        ForeignJournal: the devices were driven from another journal, or a later state of this one.
    """
    _require_devices(fleet, overrides)
    bounds = ranges.with_record(chosen.record)
    follow_policy(home, chosen.client)
    if chosen.origin is not None and chosen.origin.rolls_back:
        # Who released it said so, with the key of the board; the counter still has its say.
        overrides = {**overrides, DOWNGRADE: ("*",)}
    images = [chosen.data]
    images += [read_file(path, "last good image") for path in last_good]
    for data in images:
        admit(data, keys)  # all of them, before any is kept
    store = home.image_store(keys)
    release, *_ = [store.add(data) for data in images]
    ports = [controller.port for controller in fleet.controllers]
    history = home.history()
    register, asked = history.register, fleet.controllers
    running = run_on_site(home.directory, ports, lambda site: survey(site, asked, register))
    home.require_driver(fleet, running)
    hashes = sorted({answer.hash for answer in running.values() if answer.hash})
    known = store.known(hashes)
    for data in chosen.way_back([each for each in hashes if each not in known], keys):
        store.add(data)
    known = store.known(hashes)
    quarantined = {name: q.why for name, q in history.quarantine.items()}
    wish = Wish(
        release=release,
        requester=requester_name(home),
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        nonce=secrets.token_hex(8),
        overrides={kind: names for kind, names in overrides.items() if names},
        origin=chosen.origin,
        coefficients=coefficients,
        from_versions=bounds.from_versions,
        host_versions=bounds.host,
    )
    return under_policy(home, make_plan(fleet, wish, running, known, quarantined, register))


def _require_devices(fleet: Fleet, overrides: dict[str, tuple[str, ...]]) -> None:
    """A risk is accepted for a device by its name: a misspelt one accepts nothing."""
    for names in overrides.values():
        for name in names:
            if name != "*" and name not in fleet.by_name:
                raise UsageError(
                    f"no device {name!r} in fleet.yaml",
                    hint=did_you_mean(name, list(fleet.by_name)),
                )


@click.command()
@click.argument("image", type=PATH, required=False)
@click.option("-o", "--output", type=PATH, help="Write the plan here, to deploy exactly it.")
@release_options
@planning_options
@why_option
@keyring_option
@state_option
@force_option
@click.option("--evidence", is_flag=True, help="Also what may err how often, and all controls.")
@json_option
def plan(
    image: Path | None,
    output: Path | None,
    release: str | None,
    source: str | None,
    accept_expired: tuple[str, ...],
    why: str,
    fleet_path: Path,
    coefficients_path: Path | None,
    last_good: tuple[Path, ...],
    no_way_back: tuple[str, ...],
    no_reset_path: tuple[str, ...],
    downgrade: bool,
    from_versions: str,
    host: str,
    keyring: Path,
    state: Path,
    force: bool,
    evidence: bool,
    as_json: bool,
) -> None:
    """Show what a deploy of the signed IMAGE, or of --release, would do; changes no device.

    Every device is asked who it is and what it runs. The plan is refused when a device has no
    way back or no reset path, or when its evidence could decide nothing.

    It says what will be seen: the smallest shift found in 90 % of cases within each soak (in
    the metric's unit once a baseline was taken, in standard deviations before), the misses that
    count as silence, who is compared with whom, and how long it takes. --json has it as
    `foresight`.
    """
    wish = release_wish(image, release, source, accept_expired, why)
    if image is None and wish is None:
        raise UsageError("give an IMAGE or --release VERSION")
    if output is not None:
        refuse_existing(output, force=force)
    ranges = read_ranges(from_versions, host)
    keys = list(trusted_image_keys((), keyring).values())
    home, fleet = Home(state), load_fleet(fleet_path)
    given = read_coefficients(coefficients_path)
    chosen = choose_firmware(home, keys, image, wish, boards_of(fleet))
    coefficients = chosen.coefficients(given)
    overrides = _overrides(no_way_back, no_reset_path, downgrade)
    made = prepare(home, chosen, keys, fleet, last_good, overrides, coefficients, ranges)
    if output is not None:
        write_file(output, made.canonical, force=force)
    if as_json:
        seen = foresight_json(_foresee(home, made))
        Output().json({**json.loads(made.canonical), "foresight": seen})
        return
    show_plan(Output(), made, _foresee(home, made), evidence=evidence)
    if output is not None:
        Output().status(Status.OK, "planned", f"{output}  digest {made.digest[:16]}")


def _foresee(home: Home, made: Plan) -> Foresight:
    return foresee(made, past_baselines(home.history().baselines))


def _overrides(
    no_way_back: tuple[str, ...], no_reset_path: tuple[str, ...], downgrade: bool
) -> dict[str, tuple[str, ...]]:
    return {
        NO_WAY_BACK: no_way_back,
        NO_RESET_PATH: no_reset_path,
        DOWNGRADE: ("*",) if downgrade else (),
    }


@click.command()
@click.argument("image", type=PATH, required=False)
@click.option("--plan", "plan_path", type=PATH, help="Deploy exactly this plan.")
@release_options
@planning_options
@override_experiment_option
@override_budget_option
@why_option
@stage_option
@yes_option
@keyring_option
@state_option
@json_option
def deploy(
    image: Path | None,
    plan_path: Path | None,
    release: str | None,
    source: str | None,
    accept_expired: tuple[str, ...],
    fleet_path: Path,
    coefficients_path: Path | None,
    last_good: tuple[Path, ...],
    no_way_back: tuple[str, ...],
    no_reset_path: tuple[str, ...],
    downgrade: bool,
    from_versions: str,
    host: str,
    override_experiment: tuple[str, ...],
    override_error_budget: bool,
    why: str,
    stage: str,
    yes: bool,
    keyring: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Roll out the signed IMAGE, or --release, stage by stage, and roll it back if it is bad.

    A release comes from a repository that this host trusts (`cryofw release trust`): a directory,
    an https address, or a bundle that was carried in.

    Without --plan, makes a plan, shows it and asks. If a rollout of this image is open, it is
    continued. Ctrl-C pauses at the next safe point; a second one detaches.
    """
    wish = release_wish(image, release, source, accept_expired, why)
    if [image, plan_path, wish].count(None) != 2:
        raise UsageError("give an IMAGE or --plan FILE or --release VERSION")
    home = Home(state)
    keys = list(trusted_image_keys((), keyring).values())
    ranges = read_ranges(from_versions, host, has_plan=plan_path is not None)
    if plan_path is not None and coefficients_path is not None:
        raise UsageError("a plan holds its coefficients", hint="make a new plan with them")
    if plan_path is not None:
        made = parse_plan(read_file(plan_path, "plan"), str(plan_path))
        require_fresh(made.origin)
        require_not_revoked(home.storage, made.release.hash)
        _load_images(home, keys, made)
    else:
        summary = home.history().open_rollout
        # An open rollout needs no fleet.yaml: its plan holds everything.
        fleet = load_fleet(fleet_path) if summary is None or wish is not None else None
        chosen = choose_firmware(home, keys, image, wish, boards_of(fleet) if fleet else ())
        if summary is not None:
            made = _continued(home, summary, chosen.firmware)
            require_same_coefficients(made, coefficients_path)
        else:
            assert fleet is not None
            coefficients = chosen.coefficients(read_coefficients(coefficients_path))
            overrides = _overrides(no_way_back, no_reset_path, downgrade)
            made = prepare(home, chosen, keys, fleet, last_good, overrides, coefficients, ranges)
    _check_stage(made, stage)
    passed_over = guard_overrides(made, override_experiment, why, budget=override_error_budget)
    history = home.history()
    if made.rollout in history.rollouts:
        if not as_json:
            note = "as it was planned; fleet.yaml is not read again"
            Output().status(Status.RUNNING, f"continuing {made.rollout}", note)
        by = authority_to_resume(home, made, why)
        signed = sign_overrides(home, made, passed_over, by)
        runner = Runner(home, made, keys, by.who, as_json=as_json)
        runner.report(runner.go_on(signed, stage, by.proof))
        return
    if not as_json:
        show_plan(Output(), made, foresee(made, past_baselines(history.baselines)))
        _show_earlier(made, history)
    last = made.stages[-1].name
    target = stage or last
    ask(f"Roll out {made.release.version} up to stage {target}?", target, yes=yes)
    by = authority_to_start(home, made, why)
    signed = sign_overrides(home, made, passed_over, by)
    runner = Runner(home, made, keys, by.who, as_json=as_json)
    runner.report(runner.start(stage, signed, by.proof))


def guard_overrides(
    made: Plan, cryostats: tuple[str, ...], why: str, *, budget: bool = False
) -> list[ce.GuardOverridden]:
    """What a person takes on themselves, as events that nobody has signed yet.

    Raises:
        UsageError: no such cryostat, or no reason.
    """
    known = [name for name, guards in made.guards.items() if guards.experiment is not None]
    for name in cryostats:
        if name not in known:
            raise UsageError(
                f"no guard for experiments in cryostat {name!r}",
                why=f"cryostats with one: {', '.join(known) or 'none'}",
                hint=did_you_mean(name, known),
            )
    if (cryostats or budget) and not why.strip():
        raise UsageError("an override needs a reason", hint="--why TEXT goes into the record")
    events = [ce.GuardOverridden(ce.EXPERIMENT, "", why, cryostat=name) for name in cryostats]
    return [*events, ce.GuardOverridden(ce.ERROR_BUDGET, "", why)] if budget else events


def boards_of(fleet: Fleet) -> list[str]:
    """The boards of a fleet, each one once."""
    return sorted({controller.board for controller in fleet.controllers})


def _continued(home: Home, summary: RolloutSummary, release: Firmware) -> Plan:
    """The plan of an open rollout, if it is one of this very image.

    Raises:
        Refused: it is a rollout of another image.
    """
    if summary.release != release.hash:
        raise Refused(
            f"rollout {summary.rollout} of {summary.version} is still open",
            why=summary.why or f"it is {summary.word}",
            hint=f"finish it with `cryofw resume {summary.rollout}`, "
            f"or end it with `cryofw abort {summary.rollout}`",
        )
    return home.load_plan(summary)


def _show_earlier(made: Plan, history: History) -> None:
    """This very image was tried before, and did not stay."""
    for earlier in history.rollouts.values():
        tried = earlier.release == made.release.hash and earlier.rollout != made.rollout
        if tried and earlier.ended is not None and earlier.ended is not Ending.CONFIRMED:
            what = f"{earlier.rollout} of this image was {earlier.ended}: {in_short(earlier.why)}"
            Output().status(Status.WARNING, "earlier", what)


def _load_images(home: Home, keys: list[PublicKey], made: Plan) -> None:
    """A plan made here left its images in the store; they must be there and verify."""
    store = home.image_store(keys)
    store.load(made.release.slot_hash)
    for device in made.devices.values():
        if device.last_good is not None:
            store.load_way_back(device.last_good.hash)


def _check_stage(made: Plan, stage: str) -> None:
    names = [planned.name for planned in made.stages]
    if stage and stage not in names:
        raise UsageError(
            f"no stage {stage!r} in the plan",
            why=f"its stages are {', '.join(names)}",
            hint=did_you_mean(stage, names),
        )


@click.command()
@click.argument("rollout", required=False)
@override_experiment_option
@why_option
@stage_option
@keyring_option
@state_option
@json_option
def resume(
    rollout: str | None,
    override_experiment: tuple[str, ...],
    why: str,
    stage: str,
    keyring: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Continue a paused or interrupted ROLLOUT (default: the latest).

    Every device that something may have been sent to is looked at first.
    """
    home = Home(state)
    summary = home.find(rollout)
    made = home.load_plan(summary)
    keys = list(trusted_image_keys((), keyring).values())
    _check_stage(made, stage)
    if summary.ended is not None:
        raise Refused(
            f"rollout {summary.rollout} has ended: {summary.ended}",
            why=summary.why,
            hint="start another with `cryofw deploy`",
        )
    if summary.paused in _GOING_FORWARD:
        require_not_revoked(home.storage, made.release.hash)
    passed_over = guard_overrides(made, override_experiment, why)
    by = authority_to_resume(home, made, why)
    signed = sign_overrides(home, made, passed_over, by)
    runner = Runner(home, made, keys, by.who, as_json=as_json)
    runner.report(runner.go_on(signed, stage, by.proof))
