"""How files are attacked: links, pipes, permissions, and changes between check and use.

See `repository_attacks`; each one runs on a lab in mid-rollout, or on one that waits for
approvals. Who attacks has an account on the host, or brought an archive that was unpacked there.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.guarded_lab import GuardedLab
    from tests.faults.recorded_lab import RecordedLab

    Command = tuple[str, ...]

RESUME = ("resume",)
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
