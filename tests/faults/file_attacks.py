"""How files are attacked: links, pipes, permissions, and changes between check and use.

See `repository_attacks`; each one runs on a lab in mid-rollout, or on one that waits for
approvals. Who attacks has an account on the host, or brought an archive that was unpacked there.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from tests.flows.small_lab import edit_fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.guarded_lab import GuardedLab
    from tests.faults.recorded_lab import RecordedLab

    Command = tuple[str, ...]

RESUME = ("resume",)
DEPLOY = ("deploy", "good.bin", "--yes")
VERIFY = ("verify", "good.bin")
SIGN = ("sign", "good.raw.bin", "new.bin", "--version", "9.0.0", "--board", "cc40")


def linked(path: Path, target: Path | None = None) -> None:
    """Move a file or directory elsewhere, and leave a link to it, or to something else."""
    elsewhere = path.parent.parent / f"moved-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(target or elsewhere)


def piped(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


# --- links ----------------------------------------------------------------------------------


def journal_is_a_link(lab: RecordedLab) -> Command:
    linked(lab.state / "journal.jsonl")
    return RESUME


def checkpoint_is_a_link(lab: RecordedLab) -> Command:
    linked(lab.state / "checkpoint.json")
    return ("audit", "verify")


def lock_is_a_link(lab: RecordedLab) -> Command:
    """What a lock says about its holder would overwrite another file."""
    lock = lab.state / "journal.jsonl.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(lab.lab.directory / "fleet.yaml")
    return RESUME


def plan_is_a_link(lab: RecordedLab) -> Command:
    linked(lab.rollout / "plan.json")
    return RESUME


def readings_are_a_link(lab: RecordedLab) -> Command:
    """Evidence that somebody else writes."""
    linked(lab.rollout / "readings.jsonl")
    return RESUME


def rollouts_are_elsewhere(lab: RecordedLab) -> Command:
    """A directory swapped for a link."""
    linked(lab.state / "rollouts")
    return RESUME


def images_are_elsewhere(lab: RecordedLab) -> Command:
    linked(lab.state / "images")
    return RESUME


def memory_is_elsewhere(lab: RecordedLab) -> Command:
    """Who drove the devices, as somebody else remembers it."""
    linked(lab.state / "sim" / "homes" / "journals")
    return RESUME


def policy_is_a_link(lab: GuardedLab) -> Command:
    policy = lab.lab.state / "policy" / "policy.yaml"
    weaker = lab.directory / "weaker.yaml"
    weaker.write_bytes(lab.people.text(approvals={"stages": {"fleet": 1}}))
    policy.unlink()
    policy.symlink_to(weaker)
    return ("policy", "show")


def frozen_policy_is_a_link(lab: GuardedLab) -> Command:
    linked(lab.home.directory / "rollouts" / lab.plan.rollout / "policy.yaml")
    return RESUME


def approvals_are_elsewhere(lab: GuardedLab) -> Command:
    """Approvals of a plan that has not started wait in the state directory."""
    statement = lab.lab.directory / "approvals"
    statement.mkdir()
    plan = json.loads((lab.lab.directory / "plan.json").read_text())
    assert plan["nonce"]
    (lab.lab.state / "approvals").symlink_to(statement)
    return ("approve", "plan.json", "--stage", "fleet")


def output_is_a_link(lab: RecordedLab) -> Command:
    """It would overwrite what the link leads to."""
    (lab.lab.directory / "new.bin").symlink_to("fleet.yaml")
    return SIGN


def output_is_a_dangling_link(lab: RecordedLab) -> Command:
    (lab.lab.directory / "new.bin").symlink_to("evil.bin")
    return SIGN


def proof_is_a_link(lab: RecordedLab) -> Command:
    (lab.lab.directory / "c1-a.tlog-proof").symlink_to("evil")
    return ("audit", "prove", "c1-a")


def secret_key_by_a_link(lab: RecordedLab) -> Command:
    """The link is closed to others, what it leads to is not."""
    key = lab.lab.directory / "keys" / "firmware.pem"
    linked(key)
    key.resolve().chmod(0o640)
    return SIGN


# --- pipes, devices, endless files ----------------------------------------------------------


def image_is_a_pipe(lab: RecordedLab) -> Command:
    """Nobody writes to it: the command would wait for ever."""
    piped(lab.lab.directory / "given.bin")
    return ("deploy", "given.bin", "--yes")


def image_is_endless(lab: RecordedLab) -> Command:
    (lab.lab.directory / "given.bin").symlink_to("/dev/zero")
    return ("verify", "given.bin")


def plan_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.lab.directory / "plan.json")
    return ("deploy", "--plan", "plan.json", "--yes")


def keyring_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.lab.directory / "keys.yaml")
    return VERIFY


def keyring_is_endless(lab: RecordedLab) -> Command:
    ring = lab.lab.directory / "keys.yaml"
    ring.unlink()
    ring.symlink_to("/dev/zero")
    return VERIFY


def secret_key_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.lab.directory / "keys" / "firmware.pem")
    return SIGN


def public_key_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.lab.directory / "keys" / "firmware.pub.pem")
    return VERIFY


def lock_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.state / "journal.jsonl.lock")
    return RESUME


def proof_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.lab.directory / "rig-a.tlog-proof")
    return ("audit", "verify-proof", "rig-a.tlog-proof")


def stored_image_is_a_pipe(lab: RecordedLab) -> Command:
    piped(lab.state / "images" / f"{lab.lab.hash('good')}.bin")
    return RESUME


def stored_image_is_huge(lab: RecordedLab) -> Command:
    """A file with a hole in it: a length that fills the memory."""
    os.truncate(lab.state / "images" / f"{lab.lab.hash('good')}.bin", 1 << 40)
    return RESUME


def journal_is_huge(lab: RecordedLab) -> Command:
    os.truncate(lab.state / "journal.jsonl", 1 << 40)
    return RESUME


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
