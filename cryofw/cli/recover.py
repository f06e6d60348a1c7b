"""`cryofw recover`: the last resort for a device without a running application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.authority import require_role
from cryofw.cli.deploy import fleet_option
from cryofw.cli.file import read_file
from cryofw.cli.journalkey import sign_at_once
from cryofw.cli.keychoice import trusted_image_keys
from cryofw.cli.options import PATH, json_option, keyring_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutrun import ask
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.home import Home
from cryofw.errors import UsageError
from cryofw.fleet import load_fleet
from cryofw.trust.statement import Role

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.device import RecoveryReport
    from cryofw.engine.recovery import RecoveryImage


@click.command()
@click.argument("device")
@click.option(
    "--image", type=PATH, metavar="FILE", help="Signed image to give it. [default: its last good]"
)
@click.option("--why", default="", help="The reason, for the record.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@fleet_option
@keyring_option
@state_option
@json_option
def recover(
    device: str,
    image: Path | None,
    why: str,
    yes: bool,
    fleet_path: Path,
    keyring: Path,
    state: Path,
    as_json: bool,
) -> None:
    """Bring DEVICE back through its bootloader's serial recovery: the last resort.

    For a device whose application does not run any more: the image overwrites the running slot,
    without a test boot and without a way back. It is refused while an application answers.

    The image is verified first; by default it is the last one that ran well by the journal. A
    device in recovery is reset out of it three times, to prove that nothing else comes. A silent
    one is met right after a reset: its power hook is used, else cycle its power while this waits.
    Serial recovery names no hardware: the port alone says whose image is overwritten, until the
    new one answers and is asked who it is.

    It stays in quarantine until `cryofw quarantine clear`.
    """
    from cryofw.engine.recovery import (
        RecoveryWish,
        given_image,
        last_good_image,
        recover,
        require_fit,
        require_free,
    )
    from cryofw.engine.site import run_on_site
    from cryofw.release.trust import require_not_revoked

    fleet = load_fleet(fleet_path)
    if device not in fleet.by_name:
        raise UsageError(
            f"no device {device!r} in {fleet_path}", hint=did_you_mean(device, list(fleet.by_name))
        )
    home, controller = Home(state), fleet.by_name[device]
    keys = list(trusted_image_keys((), keyring).values())
    require_free(home, device)
    if image is None:
        chosen = last_good_image(home, home.all_records(), device, keys)
    else:
        chosen = given_image(home, read_file(image, "image"), keys)
    require_fit(controller, chosen)
    require_not_revoked(home.storage, chosen.firmware.hash)
    if not as_json:
        _show(device, controller.port, chosen)
    ask(f"Overwrite what {device} has?", device, yes=yes)
    by = require_role(home, Role.OVERRIDE, f"recover {device}", why=why)
    sign_at_once(home)
    wish = RecoveryWish(by.who, why, by.proof)
    report = run_on_site(
        state, [controller.port], lambda site: recover(home, site, controller, chosen, wish)
    )
    _tell(device, chosen, report, as_json=as_json)


def _show(device: str, port: str, chosen: RecoveryImage) -> None:
    firmware, output = chosen.firmware, Output()
    how = "its last good image, by the journal" if chosen.chosen == "last-good" else "as you say"
    output.line(f"Recover {device} on {port}")
    output.line(
        f"  image    {firmware.version}  {firmware.hash[:16]}  {firmware.size} bytes; {how}"
    )
    if not firmware.key_hash:
        output.status(Status.WARNING, "risk", "a foreign image that was adopted, by its hash alone")
    what = "what is in the running slot is overwritten; there is no test boot and no way back"
    output.status(Status.WARNING, "risk", what)


def _tell(device: str, chosen: RecoveryImage, report: RecoveryReport, *, as_json: bool) -> None:
    output, firmware = Output(), chosen.firmware
    if as_json:
        output.json({
            "recovered": device, "version": firmware.version, "hash": firmware.hash,
            "image": chosen.chosen, "sent_bytes": report.sent_bytes, "starts": report.starts,
            "beats": report.beats, "boot": report.observation.boot_id,
        })  # fmt: skip
        return
    what = f"{device} runs {firmware.version}, read back; {report.beats} heartbeats followed"
    output.status(Status.OK, "recovered", what)
    output.line(f"  if it is in quarantine: `cryofw quarantine clear {device}`")
