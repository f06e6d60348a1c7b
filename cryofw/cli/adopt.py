"""`cryofw adopt`: take over devices that were flashed by hand, or replaced."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from cryofw.cli.adoptimages import ask_for_images, read_counters, read_images
from cryofw.cli.deploy import fleet_option
from cryofw.cli.journalkey import has_keyring, sign_at_once
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.operator import operator_name
from cryofw.cli.options import PATH, json_option, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.adoption import adopt_devices, images_at_hand
from cryofw.engine.deployment import survey
from cryofw.engine.home import Home
from cryofw.engine.site import run_on_site
from cryofw.errors import Refused, Unreachable, UsageError
from cryofw.fleet import load_fleet
from cryofw.rollout.adoption import AdoptionWish, KnownImage
from cryofw.rollout.lab_events import ImageStanding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cryofw.engine.adoption import AdoptionReport
    from cryofw.fleet import Controller
    from cryofw.release import RecognisedImage
    from cryofw.rollout import Running
    from cryofw.rollout.lab_events import DeviceAdopted

_HANG = len("! adopted  ")
_WORDS = {
    ImageStanding.VERIFIED: "verified, a way back",
    ImageStanding.FOREIGN: "a foreign image, known by its hash: a way back, no release",
    ImageStanding.UNKNOWN: "its image is unknown: no way back after confirm",
}


@click.command()
@click.argument("device", nargs=-1)
@click.option(
    "--image",
    "images",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="A file that was flashed by hand, as it was. May be repeated.",
)
@click.option(
    "--counter",
    "counters",
    multiple=True,
    metavar="HASH=N",
    help="Security counter of a running image whose file is lost. May be repeated.",
)
@click.option("--replace", is_flag=True, help="The controllers named were replaced; needs --why.")
@click.option("--why", default="", help="The reason, for the record.")
@fleet_option
@keyring_option
@state_option
@json_option
def adopt(
    device: tuple[str, ...],
    images: tuple[Path, ...],
    counters: tuple[str, ...],
    replace: bool,
    why: str,
    fleet_path: Path,
    keyring: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Take over the devices of fleet.yaml, or each DEVICE named, as they are; changes none.

    Reads who each one is (hardware id, board, serial number), which is pinned from now on, and
    which image it runs. Give the files that were flashed with --image, or name them when asked:
    they are the way back. A file that no key of the keyring signed is kept as a foreign image; an
    image without a file is named as unknown, and there is no way back to it after a confirm.

    It may be given again at any time, for more devices or more files. A controller that differs
    from the one that is known is refused, unless it was replaced (--replace --why TEXT): then the
    history, the quarantine and the baselines stay with the old one.
    """
    fleet = load_fleet(fleet_path)
    chosen = _choose(fleet.controllers, device, replace=replace, why=why)
    keys = list(trusted_image_keys((), keyring).values()) if has_keyring(keyring) else []
    if not keys:
        what = f"{keyring} has no image key: every image will be a foreign one"
        Output(sys.stderr).status(Status.WARNING, "no key", what)
    given = read_images(images, keys)
    home = Home(state)
    sign_at_once(home)
    ports = [controller.port for controller in chosen]
    answers = run_on_site(state, ports, lambda site: survey(site, chosen))
    hashes = sorted({one.hash for one in answers.values() if one.hash and not one.refused})
    said = read_counters(counters, hashes)
    files = {image: found for image, (_, found) in given.items() if image in hashes}
    known = images_at_hand(home, home.history(), hashes, keys)
    missing = [one for one in hashes if one not in files and _is_without_file(known.get(one))]
    if sys.stdin.isatty() and not as_json:
        wanted = {one: _name(one, answers) for one in missing if one not in said}
        asked, told = ask_for_images(wanted, keys)
        files |= asked
        known |= told
    known |= {image: KnownImage(security_counter=counter) for image, counter in said.items()}
    known |= {i: KnownImage(found.firmware, found.names_key) for i, found in files.items()}
    wish = AdoptionWish(operator_name(), why, frozenset(device if replace else ()))
    report = adopt_devices(home, chosen, answers, known, files, wish)
    unused = [str(path) for image, (path, _) in given.items() if image not in hashes]
    if as_json:
        Output().json(_as_json(report, unused))
    else:
        _show(report, files, unused)
    _raise_for(report)


def _choose(
    controllers: Sequence[Controller], names: tuple[str, ...], *, replace: bool, why: str
) -> list[Controller]:
    """The controllers that are meant.

    Raises:
        UsageError: an unknown one; or a replacement without names or reason.
    """
    by_name = {controller.name: controller for controller in controllers}
    for name in names:
        if name not in by_name:
            raise UsageError(
                f"no device {name!r} in fleet.yaml", hint=did_you_mean(name, list(by_name))
            )
    if replace and not (names and why.strip()):
        raise UsageError(
            "a replaced controller is named, with the reason",
            hint="`cryofw adopt DEVICE --replace --why TEXT`",
        )
    return [one for one in controllers if not names or one.name in names]


def _is_without_file(known: KnownImage | None) -> bool:
    return known is None or known.firmware is None


def _name(image: str, answers: Mapping[str, Running]) -> str:
    """An image as a person knows it: its version, and who runs it."""
    runners = [name for name, answer in answers.items() if answer.hash == image]
    return f"{answers[runners[0]].version} ({image[:8]}), on {' '.join(runners)}"


def _show(
    report: AdoptionReport, files: Mapping[str, RecognisedImage], unused: Sequence[str]
) -> None:
    output = Output()
    for event in report.adopted:
        status = Status.WARNING if event.image == ImageStanding.UNKNOWN else Status.OK
        output.hanging(f"{output.mark(status, 'adopted')}  ", _adopted_words(event), _HANG)
    for name in report.unchanged:
        output.status(Status.NOTHING, "unchanged", f"{name}: all of it was known")
    for name, why in report.silent.items():
        output.status(Status.WARNING, "silent", f"{name}: {why}")
    for image, found in files.items():
        if found.remark:
            output.status(Status.WARNING, "key", f"{image[:8]}: {found.remark}")
    for path in unused:
        output.status(Status.WARNING, "not used", f"{path}: no device that was read runs it")
    if any(event.image == ImageStanding.UNKNOWN for event in report.adopted):
        output.line("  next: `cryofw adopt --image FILE` once a file is found; a deploy asks for")
        output.line("        --no-way-back DEVICE until then")
    elif report.adopted:
        output.line("  next: `cryofw plan IMAGE`; `cryofw inventory` shows the lab")


def _adopted_words(event: DeviceAdopted) -> str:
    who = f"hw {event.hw}" if event.hw else "no hardware id, known by its port"
    serial = f", serial {event.serial}" if event.serial else ""
    counter = "" if event.security_counter is None else f", counter {event.security_counter}"
    runs = f"runs {event.version} ({event.hash[:8]}{counter})"
    was = "" if event.replaces is None else f", in place of {event.replaces or 'the one before'}"
    standing = _WORDS[ImageStanding(event.image)]
    return (
        f"{event.device}: {who}, board {event.board or 'not told'}{serial}{was}; {runs}: {standing}"
    )


def _as_json(report: AdoptionReport, unused: Sequence[str]) -> dict[str, object]:
    return {
        "adopted": [
            {
                "device": event.device,
                "hw": event.hw,
                "board": event.board,
                "serial": event.serial,
                "hash": event.hash,
                "version": event.version,
                "security_counter": event.security_counter,
                "image": event.image,
                "way_back": event.image != ImageStanding.UNKNOWN,
                "replaces": event.replaces,
            }
            for event in report.adopted
        ],
        "unchanged": report.unchanged,
        "refused": [
            {"device": name, "why": f"{refusal.what}: {refusal.why}", "hint": refusal.hint}
            for name, refusal in report.refused.items()
        ],
        "silent": [{"device": name, "why": why} for name, why in report.silent.items()],
        "unused": list(unused),
    }


def _raise_for(report: AdoptionReport) -> None:
    """What was not done is told last, with the exit code of the worst.

    Raises:
        Refused: a device was refused.
        Unreachable: a device did not answer.
    """
    if report.refused:
        lines = [f"{one.what}: {one.why}" for one in report.refused.values()]
        first = next(iter(report.refused.values()))
        raise Refused(
            f"not adopted: {' '.join(report.refused)}", why="\n".join(lines), hint=first.hint
        )
    if report.silent:
        raise Unreachable(
            f"not adopted: {' '.join(report.silent)}",
            why="\n".join(f"{name}: {why}" for name, why in report.silent.items()),
            hint="give the command again for them; the others are done",
        )
