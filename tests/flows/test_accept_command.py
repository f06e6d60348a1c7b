"""`cryofw accept` on a running and on a paused rollout, through the real commands."""

from __future__ import annotations

import json
import math
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import edit_fleet, firmware

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.flows.small_lab import SmallLab

_PATIENCE_S = 120.0
_BLIND = {"shift": {"metric": "readout_snr", "by": math.nan}}
WHY = "the exporter is down, the analyser shows no change"


@pytest.fixture
def lab(another_lab: Callable[[str], SmallLab]) -> SmallLab:
    """A lab with a firmware of which the readout says nothing, and time to think about it."""
    made = another_lab("blind")
    edit_fleet(made, "    min_samples: 20\n", "    min_samples: 20\n    hold: 20 h\n")
    (made.directory / "blind.raw.bin").write_bytes(firmware(_BLIND))
    sign = ("sign", "blind.raw.bin", "blind.bin", "--version", "1.6.0", "--board", "cc40")
    made.run(*sign).expect(0)
    return made


def until_held(lab: SmallLab) -> subprocess.Popen[str]:
    """A deploy in a process of its own, whose first device is held."""
    process = lab.start("deploy", "blind.bin", "--yes", "--stage", "test-rig")
    journal = lab.state / "journal.jsonl"
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        if journal.exists() and b'"inconclusive"' in journal.read_bytes():
            return process
    process.kill()
    raise AssertionError(process.communicate())


def test_a_device_of_a_running_rollout_is_accepted(lab: SmallLab) -> None:
    with until_held(lab) as process:
        told = lab.run("accept", "rig-a", "--why", WHY, "--json").expect(0)
        out, err = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, out + err
    (answer,) = told.json_lines
    assert (answer["accepted"], answer["by"], answer["running"]) == ("rig-a", "anna@lab", True)
    assert "asked" in told.err
    assert "by anna@lab: " + WHY in out
    assert "with devices that a person accepted: rig-a by anna@lab" in out
    lab.run("audit", "verify").expect(0)


def test_a_device_of_a_paused_rollout_is_accepted_and_confirmed_by_the_resume(
    lab: SmallLab,
) -> None:
    lab.run("keys", "generate", "journal", "--purpose=journal", "--no-passphrase").expect(0)
    with until_held(lab) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 75, out + err
    lab.run("status").expect(0, "rig-a", "held", "cryofw accept rig-a --why TEXT")

    lab.run("accept", "rig-a").expect(2, "--why")
    lab.run("accept", "rig-a", "--why", " ").expect(2, "needs a reason")
    lab.run("accept", "rig-b", "--why", WHY).expect(2, "no device 'rig-b'", "rig-a")
    lab.run("accept", "c1-a", "--why", WHY).expect(5, "c1-a is pending, not held")
    assert "device-accepted" not in [record["kind"] for record in lab.records()]

    lab.run("accept", "rig-a", "--why", WHY).expect(0, "rig-a was held", "cryofw resume")
    lab.run("resume").expect(0, "rig-a by anna@lab")
    assert lab.see()["rig-a"].confirmed
    shown = json.loads(lab.run("status", "--json").expect(0).out)
    assert shown["devices"]["rig-a"]["accepted"] == "anna@lab"
    lab.run("audit", "show").expect(0, "anna@lab: accepted rig-a, which was held", WHY)
    lab.run("audit", "verify").expect(0)
    lab.run("audit", "prove", "rig-a", "-o", "proof").expect(0)
    proven = lab.run("audit", "verify-proof", "proof", "--key", "keys/journal.pub.pem")
    proven.expect(0, "accepted")

    lab.run("accept", "rig-a", "--why", WHY).expect(5, "rig-a is confirmed, not held")
    lab.run("abort", "--yes").expect(0)
    lab.run("accept", "rig-a", "--why", WHY).expect(5, "has ended")
