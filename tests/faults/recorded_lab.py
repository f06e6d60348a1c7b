"""A lab with a signed journal, in mid-rollout, and the means to lie with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.engine.home import Home
from cryofw.journal import Checkpoint, SignedHead, TreeHead, leaf_hash, origin_of, sign_note
from cryofw.journal.merkle import Frontier, MerkleTree
from cryofw.keys import Purpose, load_keyring, no_passphrase
from tests.flows.small_lab import SmallLab

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from cryofw.rollout import Event

JOURNAL_FILES = ("journal.jsonl", "checkpoint.json", "checkpoint", "tree")


@dataclass
class RecordedLab:
    """A rollout waits at the stage `canary-cryostat`; the rig runs the new image for good.

    `earlier` is a copy of the state from before anything was sent to the fleet, `kept` a
    checkpoint that somebody keeps elsewhere, `other` another lab with a journal key of its own.
    """

    directory: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def lab(self) -> SmallLab:
        """The lab."""
        lab = SmallLab(self.directory / "lab")
        lab.env = self.env
        return lab

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.lab.state

    @property
    def home(self) -> Home:
        """The same, opened."""
        return Home(self.state)

    @classmethod
    def lay_out(cls, directory: Path) -> RecordedLab:
        """A lab with a journal key that deployed to its rig and its canary."""
        made = cls(directory)
        lab = SmallLab.lay_out(directory / "lab")
        _make_key(lab)
        lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
        shutil.copytree(lab.state, directory / "earlier")
        lab.run("resume").expect(75, "approval")
        lab.run("audit", "prove", "rig-a").expect(0)
        lab.run("audit", "verify").expect(0, "signed")
        shutil.copy(lab.state / "checkpoint", lab.directory / "kept")
        other = SmallLab.lay_out(directory / "other")
        _make_key(other)
        other.run("deploy", "drift.bin", "--yes").expect(6)
        other.run("audit", "prove", "rig-a").expect(0)
        return made

    def copy_to(self, directory: Path) -> RecordedLab:
        """Another one in the same state."""
        shutil.copytree(self.directory, directory, symlinks=True)
        return RecordedLab(directory)

    @property
    def lines(self) -> list[bytes]:
        """The journal's lines, each with its end."""
        return (self.state / "journal.jsonl").read_bytes().splitlines(keepends=True)

    def write(self, lines: Sequence[bytes]) -> None:
        """Put other lines into the journal, and nothing else."""
        (self.state / "journal.jsonl").write_bytes(b"".join(lines))

    def find(self, kind: str, device: str = "") -> int:
        """The number of the first record of a kind."""
        for number, record in enumerate(self.lab.records()):
            if record["kind"] == kind and device in (record.get("device"), ""):
                return number
        raise AssertionError(f"the journal has no {kind}")

    def write_anew(self, lines: Sequence[bytes]) -> TreeHead:
        """The same, with a checkpoint and a tree that fit: all that needs no key."""
        self.write(lines)
        shutil.rmtree(self.state / "tree")
        frontier, leaves = Frontier(), [leaf_hash(line.rstrip(b"\n")) for line in lines]
        for leaf in leaves:
            frontier.append_hash(leaf)
        checkpoint = Checkpoint.of("journal.jsonl", frontier, sum(map(len, lines)))
        (self.state / "checkpoint.json").write_bytes(checkpoint.encode())
        return TreeHead(origin_of(leaves[0]), len(leaves), MerkleTree.of_hashes(leaves).root())

    def sign(self, head: TreeHead, by: SmallLab, name: str = "") -> None:
        """Let the journal key of a lab sign a tree head, as the journal's checkpoint."""
        (self.state / "checkpoint").write_bytes(signed(head, by, name).encode())

    def stranger(self, name: str = "mallory") -> SmallLab:
        """Somebody elsewhere with a journal key of their own."""
        made = SmallLab(self.directory / name)
        made.directory.mkdir()
        _make_key(made)
        return made

    def journal(self, *events: Event, device: str | None = None) -> None:
        """Write records that cryofw would not have written, with the journal's own key."""
        from cryofw.rollout import fields_of

        home = self.home
        plan = home.load_plan(home.find(None))
        keys = load_keyring(self.lab.directory / "keys.yaml")
        home.signer = keys.signer("journal", Purpose.JOURNAL, no_passphrase)
        with home.open_journal(home.clock, "mallory") as journal:
            for event in events:
                about = getattr(event, "device", device)
                journal.append(event.kind, rollout=plan.rollout, device=about, **fields_of(event))

    @property
    def rollout(self) -> Path:
        """The directory of the rollout: its plan and its raw readings."""
        (found,) = (self.state / "rollouts").iterdir()
        return found


def signed(head: TreeHead, by: SmallLab, name: str = "") -> SignedHead:
    """A tree head, signed by the journal key of a lab, under its origin or another name."""
    ring = load_keyring(by.directory / "keys.yaml")
    signer = ring.signer("journal", Purpose.JOURNAL, no_passphrase)
    return SignedHead(head, sign_note(head.text, name or head.origin, signer))


def edited(line: bytes, **changes: object) -> bytes:
    """A record that says something else, in the form that a record has."""
    fields: dict[str, Any] = json.loads(line)
    return json.dumps({**fields, **changes}, separators=(",", ":")).encode() + b"\n"


def renumbered(lines: list[bytes]) -> list[bytes]:
    return [edited(line, n=number) for number, line in enumerate(lines)]


def _make_key(lab: SmallLab) -> None:
    lab.run("keys", "generate", "journal", "--purpose=journal", "--no-passphrase").expect(0)
