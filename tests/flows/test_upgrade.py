"""A rollout that an older cryofw began is finished by this one."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryofw.engine.virtual_time import StoppedClock
from cryofw.journal import FileStorage, Journal, read_journal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.small_lab import SmallLab


def test_a_plan_of_an_older_cryofw_is_finished_and_verifies(small_lab: SmallLab) -> None:
    """A field that this version added is not in its bytes; the digest is that of the bytes."""
    lab = small_lab
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    (folder,) = (lab.state / "rollouts").iterdir()
    old = json.loads((folder / "plan.json").read_text())
    for device in old["devices"].values():
        del device["connection"]["boot_limit_s"]
    data = json.dumps(old, sort_keys=True, indent=1).encode() + b"\n"
    digest = hashlib.sha256(data).hexdigest()
    with_plan(lab, folder, data, digest)

    lab.run("status").expect(0, f"r-{digest[:8]}")
    lab.run("audit", "verify").expect(0, "verified")
    lab.run("resume").expect(75, "needs an approval")
    lab.run("audit", "verify").expect(0, "verified")


def with_plan(lab: SmallLab, folder: Path, data: bytes, digest: str) -> None:
    """Write the journal anew, as the older version that made this plan would have."""
    new = lab.state / "rollouts" / f"r-{digest[:8]}"
    folder.rename(new)
    (new / "plan.json").write_bytes(data)
    records = read_journal(FileStorage(lab.state)).records
    shutil.rmtree(lab.state / "sim" / "homes")  # that version remembered no journals
    for name in ("journal.jsonl", "checkpoint.json"):
        (lab.state / name).unlink()
    clock = StoppedClock(datetime(2026, 1, 1, tzinfo=UTC))
    with Journal.open(FileStorage(lab.state), clock=clock, who="older") as journal:
        for record in records:
            fields = dict(record.fields)
            if record.kind == "verdict-reached":
                fields["evidence"] = {}  # the digest of the plan breaks ties: other numbers
            if record.kind == "rollout-started":
                fields["plan"] = digest
            journal.append(record.kind, rollout=new.name, device=record.device, **fields)
