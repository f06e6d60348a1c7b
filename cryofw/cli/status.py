"""`cryofw status`, `inventory` and `quarantine`: what the journal says, and what devices say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.deploy import fleet_option
from cryofw.cli.deviceview import show_device
from cryofw.cli.labview import lab_fields, lab_note
from cryofw.cli.operator import operator_name
from cryofw.cli.options import json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutrun import tell_or_do
from cryofw.cli.rolloutview import show_summary, state_json
from cryofw.engine.deployment import survey
from cryofw.engine.home import Home
from cryofw.engine.site import run_on_site
from cryofw.errors import BadInput
from cryofw.fleet import load_fleet
from cryofw.health import in_short
from cryofw.rollout import events as e
from cryofw.rollout.story import printable

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.fleet import Controller
    from cryofw.rollout import History, Running


@click.command()
@click.argument("rollout", required=False)
@click.option("--all", "show_all", is_flag=True, help="One line for each rollout.")
@click.option("--device", default="", help="Only this one, with the numbers of its verdict.")
@state_option
@json_option
def status(rollout: str | None, show_all: bool, device: str, state: Path, as_json: bool) -> None:
    """Show how far ROLLOUT (default: the latest) is, device by device; opens no port.

    With --device also the evidence: its baseline, whom it was compared with, and each verdict
    with its shifts, bets, thresholds and samples.
    """
    home = Home(state)
    output = Output()
    if show_all:
        _show_all(output, home.history(), as_json=as_json)
        return
    summary = home.find(rollout)
    plan = home.load_plan(summary)
    records = home.records_of(plan.rollout)
    folded = home.fold_rollout(plan, records, home.readings(plan.rollout)).state
    if device:
        show_device(output, folded, records, device, home.storage, as_json=as_json)
        return
    if as_json:
        output.json(state_json(folded))
        return
    stage = folded.stage.name if folded.stage else "not begun"
    output.line(f"{summary.rollout}  {summary.version} by {summary.by}, since {summary.started}")
    output.hanging("  ", f"{summary.word}, stage {stage}, latest record {summary.latest}", 2)
    if summary.ended is None:
        holder = home.holder
        output.line(f"  {holder}" if holder else "  no process runs it: `cryofw resume` goes on")
    show_summary(output, folded)


def _show_all(output: Output, history: History, *, as_json: bool) -> None:
    rollouts = history.rollouts.values()
    if as_json:
        output.json([
            {"rollout": r.rollout, "version": r.version, "by": r.by, "started": r.started,
             "state": r.word, "why": r.why}
            for r in rollouts
        ])  # fmt: skip
        return
    rows = [
        (r.rollout, r.version, r.started[:19], r.by, f"{r.word}: {in_short(r.why)}")
        for r in rollouts
    ]
    output.table(("rollout", "version", "started", "by", "state"), rows)


@click.command()
@click.argument("device", nargs=-1)
@click.option("--read", "read", is_flag=True, help="Ask the devices too.")
@fleet_option
@state_option
@json_option
def inventory(
    device: tuple[str, ...], read: bool, fleet_path: Path, state: Path, as_json: bool
) -> None:
    """Show what runs on each device, or on each DEVICE named, and since when.

    From the journal; with --read also from the devices themselves, which are asked, not changed.
    """
    fleet = load_fleet(fleet_path)
    unknown = sorted(set(device) - fleet.by_name.keys())
    if unknown:
        raise BadInput(f"{fleet_path} has no device {unknown[0]}")
    chosen = [c for c in fleet.controllers if not device or c.name in device]
    home = Home(state)
    history = home.history()
    answers: dict[str, Running] = {}
    if read:
        ports = [controller.port for controller in chosen]
        answers = run_on_site(state, ports, lambda site: survey(site, chosen, history.register))
    rows = [_inventory_row(one, history, answers.get(one.name)) for one in chosen]
    output = Output()
    if as_json:
        output.json(rows)
        return
    header = ["cryostat", "device", "runs", "hash", "since", "state"] + (["read now"] * read)
    header += [key for key in ("hw", "note") if any(row[key] for row in rows)]
    output.table(header, [[str(row.get(key) or "-") for key in header] for row in rows])


def _inventory_row(
    controller: Controller, history: History, answer: Running | None
) -> dict[str, object]:
    seen = history.devices.get(controller.name)
    quarantine = history.quarantine.get(controller.name)
    row: dict[str, object] = {
        "cryostat": controller.cryostat,
        "device": controller.name,
        "runs": history.version(seen.hash) if seen else None,
        "hash": seen.hash[:12] if seen else None,
        "since": seen.t[:19] if seen else None,
        "state": "quarantined" if quarantine else (seen.state if seen else None),
        "why": quarantine.why if quarantine else (seen.why if seen else ""),
        "note": printable(lab_note(history.register, controller.name, seen.hash if seen else "")),
        **lab_fields(history.register, controller.name),
    }
    if answer is not None:
        row["read now"] = answer.why or f"{answer.version} {answer.hash[:12]}"
    return row


@click.group()
def quarantine() -> None:
    """Devices that nothing is sent to until a person has seen to them."""


@quarantine.command("list")
@state_option
@json_option
def quarantine_list(state: Path, as_json: bool) -> None:
    """Show who is in quarantine, why, and the next step."""
    found = Home(state).history().quarantine
    output = Output()
    if as_json:
        output.json([
            {"device": n, "why": q.why, "hint": q.hint, "rollout": q.rollout, "since": q.since}
            for n, q in found.items()
        ])  # fmt: skip
        return
    if not found:
        output.status(Status.OK, "nobody", "is in quarantine")
    for name, entry in found.items():
        output.status(Status.FAILED, name, f"{entry.why}  (since {entry.since[:19]})")
        output.line(f"  next: {entry.hint}")


@quarantine.command("clear")
@click.argument("device")
@click.option("--why", default="", help="What was done to it, for the record.")
@state_option
def quarantine_clear(device: str, why: str, state: Path) -> None:
    """Say that DEVICE was seen to; the next rollout reads it before anything is sent."""
    home = Home(state)
    entry = home.history().quarantine.get(device)
    if entry is None:
        raise BadInput(f"{device} is not in quarantine", hint="`cryofw quarantine list`")
    who = operator_name()
    event = e.QuarantineCleared(device, who, why)
    plan = home.load_plan(home.find(entry.rollout))

    def record() -> None:
        home.record(plan, event, who)
        Output().status(Status.OK, "cleared", f"{device} by {who}")

    # A running rollout is the only one that reads requests, also about others' devices.
    running = home.history().open_rollout
    tell_or_do(home, running.rollout if running else entry.rollout, event, record)
