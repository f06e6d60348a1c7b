"""How permissions are attacked, and files changed between check and use; see `file_attacks`."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tests.faults.file_attacks import RESUME, SIGN, VERIFY
from tests.flows.small_lab import edit_fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.guarded_lab import GuardedLab
    from tests.faults.recorded_lab import RecordedLab

    Command = tuple[str, ...]


# --- permissions ----------------------------------------------------------------------------


def opened(path: Path, mode: int) -> None:
    path.chmod(mode)


def secret_key_readable(lab: RecordedLab) -> Command:
    opened(lab.lab.directory / "keys" / "firmware.pem", 0o644)
    return SIGN


def secret_key_readable_by_the_group(lab: RecordedLab) -> Command:
    opened(lab.lab.directory / "keys" / "firmware.pem", 0o640)
    return SIGN


def secret_key_writable(lab: RecordedLab) -> Command:
    opened(lab.lab.directory / "keys" / "firmware.pem", 0o602)
    return SIGN


def journal_key_readable(lab: RecordedLab) -> Command:
    opened(lab.lab.directory / "keys" / "journal.pem", 0o644)
    lab.lab.run("approve", "--stage", "fleet").expect(0)
    return ("audit", "checkpoint", "--from", "0", "-o", "request", "--force")


def passphrase_readable(lab: RecordedLab) -> Command:
    secret = lab.lab.directory / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o644)
    return ("keys", "generate", "new", "--purpose=image", "--passphrase-file", "secret")


def keyring_writable(lab: RecordedLab) -> Command:
    """Whoever can write to it can trust a key of their own."""
    opened(lab.lab.directory / "keys.yaml", 0o666)
    return ("deploy", "good.bin", "--yes")


def public_key_writable(lab: RecordedLab) -> Command:
    opened(lab.lab.directory / "keys" / "firmware.pub.pem", 0o666)
    return VERIFY


def trusted_key_file_writable(lab: RecordedLab) -> Command:
    opened(lab.lab.directory / "keys" / "journal.pub.pem", 0o646)
    return ("audit", "verify", "--key", "keys/journal.pub.pem")


def state_writable(lab: RecordedLab) -> Command:
    opened(lab.state, 0o777)
    return RESUME


def journal_writable(lab: RecordedLab) -> Command:
    opened(lab.state / "journal.jsonl", 0o666)
    return RESUME


def images_writable(lab: RecordedLab) -> Command:
    """Others could put another image there after the check."""
    opened(lab.state / "images", 0o777)
    return RESUME


def plan_writable(lab: RecordedLab) -> Command:
    opened(lab.rollout / "plan.json", 0o666)
    return RESUME


def policy_writable(lab: GuardedLab) -> Command:
    opened(lab.lab.state / "policy" / "policy.yaml", 0o666)
    return RESUME


def named_policy_writable(lab: GuardedLab) -> Command:
    """The policy that CRYOFW_POLICY names decides who may sign."""
    policy = lab.directory / "policy.yaml"
    policy.write_bytes(lab.people.text())
    policy.chmod(0o666)
    lab.env = {"CRYOFW_POLICY": str(policy)}
    return SIGN


def memory_writable(lab: RecordedLab) -> Command:
    opened(lab.state / "sim" / "homes" / "devices", 0o777)
    return RESUME


# --- between check and use ------------------------------------------------------------------


def keyring_replaced(lab: RecordedLab) -> Command:
    """Between plan and resume somebody else's key is trusted instead; the image is the old one."""
    other = lab.directory / "other"
    shutil.copy(other / "keys" / "firmware.pub.pem", lab.lab.directory / "keys")
    return RESUME


def image_and_keyring_replaced(lab: RecordedLab) -> Command:
    """Their key and an image that it signed, under the old name."""
    keyring_replaced(lab)
    theirs = (lab.directory / "other" / "good.bin").read_bytes()
    (lab.state / "images" / f"{lab.lab.hash('good')}.bin").write_bytes(theirs)
    return RESUME


def image_replaced_by_another_release(lab: RecordedLab) -> Command:
    """Rightly signed, and not what was approved and tried on the canary."""
    drift = (lab.lab.directory / "drift.bin").read_bytes()
    (lab.state / "images" / f"{lab.lab.hash('good')}.bin").write_bytes(drift)
    return RESUME


def way_back_replaced(lab: RecordedLab) -> Command:
    """There would be no way back, when it is needed."""
    theirs = (lab.directory / "other" / "factory.bin").read_bytes()
    (lab.state / "images" / f"{lab.lab.hash('factory')}.bin").write_bytes(theirs)
    return RESUME


def image_removed(lab: RecordedLab) -> Command:
    (lab.state / "images" / f"{lab.lab.hash('good')}.bin").unlink()
    return RESUME


def image_of_a_plan_replaced(lab: RecordedLab) -> Command:
    """Between `plan` and `deploy --plan`."""
    lab.lab.run("abort", "--yes").expect(0)
    lab.lab.run("plan", "hang.bin", "-o", "plan.json").expect(0)
    theirs = (lab.directory / "other" / "hang.bin").read_bytes()
    (lab.state / "images" / f"{lab.lab.hash('hang')}.bin").write_bytes(theirs)
    return ("deploy", "--plan", "plan.json", "--yes")


def plan_replaced_after_the_approval(lab: GuardedLab) -> Command:
    """What people approved is edited before it starts: it asks for nobody any more."""
    lab.lab.run("abort", "--yes").expect(0)
    lab.lab.run("approve", "plan.json", "--stage", "fleet").expect(0)
    path = lab.lab.directory / "plan.json"
    plan = json.loads(path.read_text())
    plan["policy"]["approvals"] = {}
    path.write_text(json.dumps(plan, sort_keys=True, indent=1) + "\n")
    lab.person = "anna"
    return ("deploy", "--plan", "plan.json", "--yes")


def policy_removed(lab: GuardedLab) -> Command:
    """Without a policy everybody may do everything."""
    lab.lab.run("abort", "--yes").expect(0)
    shutil.rmtree(lab.lab.state / "policy")
    return ("deploy", "drift.bin", "--yes")


def identity_replaced(lab: RecordedLab) -> Command:
    """Another controller answers on the port (the rig's hardware id is another one)."""
    lab.lab.run("abort", "--yes").expect(0)
    lab.lab.run("plan", "drift.bin", "-o", "plan.json").expect(0)
    edit_fleet(lab.lab, 'hw: "5a01"', 'hw: "5a99"')
    return ("deploy", "drift.bin", "--yes")


def _port_locks(lab: RecordedLab) -> Path:
    """A lab with a real port, and the folder in which somebody else was before us."""
    edit_fleet(lab.lab, "sim://rig-a", str(lab.directory / "tty"))
    run = lab.directory / "run"
    run.mkdir()
    lab.env = {"XDG_RUNTIME_DIR": str(run)}
    return run / "cryofw-locks"


def port_locks_are_a_link(lab: RecordedLab) -> Command:
    _port_locks(lab).symlink_to(lab.lab.directory)
    return ("inventory", "--read")


def port_locks_writable(lab: RecordedLab) -> Command:
    locks = _port_locks(lab)
    locks.mkdir()
    locks.chmod(0o777)
    return ("inventory", "--read")
