"""The way back of a rollout whose journal was retired: another rollout, of the image before."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.flows.small_lab import SmallLab


def test_the_way_that_is_named_leads_back(small_lab: SmallLab) -> None:
    lab = small_lab
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    lab.run("approve", "--stage", "fleet")
    lab.run("resume")
    assert set(lab.running().values()) == {"good"}
    lab.run("audit", "retire").expect(0)

    refused = lab.run("rollback", "--yes").expect(5, "in a journal that was retired")
    (command,) = re.findall(r"`cryofw (deploy [^`]*)`", refused.err)
    lab.run(*shlex.split(command), "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)

    assert set(lab.running().values()) == {"factory"}
    lab.run("audit", "verify").expect(0, "verified")
