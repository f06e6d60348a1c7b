"""How the journal, its signatures and its evidence are attacked; see `repository_attacks`.

Where the journal's own key signs what is false, who did it is root on the host: then only the
rules, the evidence, and what others kept elsewhere can tell.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from cryofw.journal import SignedHead, TreeHead, leaf_hash, read_signed_head
from cryofw.journal.note import NoteSignature, SignedNote
from cryofw.rollout import events as e
from tests.faults.recorded_lab import JOURNAL_FILES, signed
from tests.flows.small_lab import edit_fleet

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.faults.recorded_lab import RecordedLab

    Command = tuple[str, ...]

AUDIT = ("audit", "verify")
RESUME = ("resume",)


def put_back(lab: RecordedLab, source: Path, *, names: tuple[str, ...] = JOURNAL_FILES) -> None:
    """Put the journal's files of another state directory in place of those here."""
    for name in names:
        place = lab.state / name
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, place)
        elif (source / name).exists():
            shutil.copy(source / name, place)


def edited(line: bytes, **changes: object) -> bytes:
    """A record that says something else, in the form that a record has."""
    fields: dict[str, Any] = json.loads(line)
    return json.dumps({**fields, **changes}, separators=(",", ":")).encode() + b"\n"


def renumbered(lines: list[bytes]) -> list[bytes]:
    return [edited(line, n=number) for number, line in enumerate(lines)]


# --- lines ----------------------------------------------------------------------------------


def flipped(lab: RecordedLab) -> Command:
    lines = lab.lines
    lines[5] = lines[5].replace(b'"who":"anna', b'"who":"bnna')
    lab.write(lines)
    return AUDIT


def flipped_and_resumed(lab: RecordedLab) -> Command:
    flipped(lab)
    return RESUME


def cut_at_a_line(lab: RecordedLab) -> Command:
    lab.write(lab.lines[:-3])
    return AUDIT


def cut_in_a_line(lab: RecordedLab) -> Command:
    *lines, last = lab.lines
    lab.write([*lines, last[:-9]])
    return RESUME


def reordered(lab: RecordedLab) -> Command:
    lines = lab.lines
    lines[4], lines[5] = lines[5], lines[4]
    lab.write(lines)
    return AUDIT


def duplicated(lab: RecordedLab) -> Command:
    lines = lab.lines
    lab.write([*lines[:5], lines[4], *lines[5:]])
    return AUDIT


def middle_deleted(lab: RecordedLab) -> Command:
    lines = lab.lines
    lab.write([*lines[:5], *lines[6:]])
    return RESUME


def deleted_and_numbered_anew(lab: RecordedLab) -> Command:
    """With a checkpoint and a tree that fit: all that takes no key."""
    lines = lab.lines
    lab.write_anew(renumbered([*lines[:5], *lines[6:]]))
    return AUDIT


def written_anew_and_resumed(lab: RecordedLab) -> Command:
    lines = lab.lines
    lines[-1] = edited(lines[-1], who="mallory")
    lab.write_anew(lines)
    return RESUME


def journal_removed(lab: RecordedLab) -> Command:
    (lab.state / "journal.jsonl").unlink()
    return RESUME


def checkpoint_removed(lab: RecordedLab) -> Command:
    (lab.state / "checkpoint.json").unlink()
    return RESUME


def of_a_newer_cryofw(lab: RecordedLab) -> Command:
    """A record whose rules are not known here could mean anything."""
    lines = lab.lines
    lab.write_anew([*lines, edited(lines[-1], v=2, n=len(lines))])
    return RESUME


# --- signatures -----------------------------------------------------------------------------


def signature_removed(lab: RecordedLab) -> Command:
    lines = lab.lines
    lines[3] = edited(lines[3], who="mallory")
    lab.write_anew(lines)
    (lab.state / "checkpoint").unlink()
    return AUDIT


def signed_by_another_key(lab: RecordedLab) -> Command:
    lines = lab.lines
    lines[-1] = edited(lines[-1], who="mallory")
    lab.sign(lab.write_anew(lines), lab.stranger())
    return AUDIT


def signed_under_a_known_key_id(lab: RecordedLab) -> Command:
    """The line of a signature bears the id of our key, and another one made it."""
    lines = lab.lines
    lines[-1] = edited(lines[-1], who="mallory")
    head = lab.write_anew(lines)
    ours = signed(head, lab.lab).note.signatures[0]
    theirs = signed(head, lab.stranger()).note.signatures[0]
    forged = NoteSignature(ours.name, ours.key_id, theirs.body)
    note = SignedHead(head, SignedNote(head.text, (forged,)))
    (lab.state / "checkpoint").write_bytes(note.encode())
    return AUDIT


def forged_beside_a_good_one(lab: RecordedLab) -> Command:
    """Two lines with one key id: the first good one is not enough."""
    own = read_signed_head(lab.home.storage)
    assert own is not None
    (good,) = own.note.signatures
    forged = NoteSignature(good.name, good.key_id, bytes(len(good.body)))
    note = SignedNote(own.note.text, (good, forged))
    (lab.state / "checkpoint").write_bytes(SignedHead(own.head, note).encode())
    return AUDIT


def signed_for_another_journal(lab: RecordedLab) -> Command:
    """The right key, for another origin."""
    head = TreeHead("cryofw/journal/" + "ab" * 16, 3, leaf_hash(b"?"))
    lab.sign(head, lab.lab)
    return AUDIT


def signed_for_more_records(lab: RecordedLab) -> Command:
    """An older copy of the journal under the signature of the newer one."""
    put_back(lab, lab.directory / "earlier", names=("journal.jsonl", "checkpoint.json", "tree"))
    return AUDIT


def signed_for_more_and_resumed(lab: RecordedLab) -> Command:
    signed_for_more_records(lab)
    return RESUME


def key_swapped_in_the_keyring(lab: RecordedLab) -> Command:
    """The host trusts another key now; the journal is still signed by the old one."""
    mallory = lab.stranger()
    for name in ("journal.pem", "journal.pub.pem"):
        shutil.copy(mallory.directory / "keys" / name, lab.lab.directory / "keys" / name)
    return AUDIT


def key_of_another_purpose(lab: RecordedLab) -> Command:
    return (*AUDIT, "--key", "firmware")


def one_witness_as_two(lab: RecordedLab) -> Command:
    """One key under two names is one witness."""
    bert = lab.lab.directory / "bert"
    lab.lab.run("keys", "generate", "bert", "--purpose=witness", "--no-passphrase").expect(0)
    shutil.copy(lab.lab.directory / "keys" / "bert.pub.pem", f"{bert}.pub.pem")
    lab.lab.run("audit", "checkpoint", "--from", "0", "-o", "request").expect(0)
    lab.lab.run("audit", "witness", "request", "-o", "answer").expect(0)
    lab.lab.run("audit", "accept", "answer").expect(0)
    keys = ("--witness-key", "bert", "--witness-key", "./bert.pub.pem")
    return (*AUDIT, *keys, "--witnesses", "2")


def cosigned_by_nobody(lab: RecordedLab) -> Command:
    shutil.copy(lab.state / "checkpoint", lab.lab.directory / "answer")
    lab.lab.run("keys", "generate", "bert", "--purpose=witness", "--no-passphrase").expect(0)
    return ("audit", "accept", "answer")


def witness_is_shown_a_fork(lab: RecordedLab) -> Command:
    """The journal's own key signs two ways on; the witness saw the other one."""
    lab.lab.run("keys", "generate", "bert", "--purpose=witness", "--no-passphrase").expect(0)
    lab.lab.run("audit", "checkpoint", "--from", "0", "-o", "request").expect(0)
    lab.lab.run("audit", "witness", "request", "-o", "answer").expect(0)
    lines, size = lab.lines, len(lab.lines)
    lines[-1] = edited(lines[-1], who="mallory")
    lines.append(edited(lines[-1], n=size))
    lab.sign(lab.write_anew(lines), lab.lab)
    lab.lab.run("audit", "checkpoint", "--from", str(size), "-o", "forked").expect(0)
    return ("audit", "witness", "forked", "-o", "again")


# --- copies and forks -----------------------------------------------------------------------


def forked_by_the_key(lab: RecordedLab) -> Command:
    """Written anew, and signed by the right key: a checkpoint that somebody kept tells."""
    lines = lab.lines
    lines[5] = edited(lines[5], who="bert@lab")
    lab.sign(lab.write_anew(lines), lab.lab)
    return (*AUDIT, "--since", "kept")


def forked_and_resumed(lab: RecordedLab) -> Command:
    """The same, and it would go on driving the devices."""
    lines = lab.lines
    lines[5] = edited(lines[5], who="bert@lab")
    lab.sign(lab.write_anew(lines), lab.lab)
    return RESUME


def old_copy(lab: RecordedLab) -> Command:
    """A sound older journal with its own signature."""
    put_back(lab, lab.directory / "earlier")
    return (*AUDIT, "--since", "kept")


def old_copy_resumed(lab: RecordedLab) -> Command:
    """It would take the canary a second time, with a fresh alpha."""
    put_back(lab, lab.directory / "earlier")
    return RESUME


def begun_anew(lab: RecordedLab) -> Command:
    """An empty journal has spent no alpha and seen no failure."""
    put_back(lab, lab.directory / "nothing")
    return ("deploy", "good.bin", "--yes")


def journal_of_another_lab(lab: RecordedLab) -> Command:
    put_back(lab, lab.directory / "other" / ".cryofw")
    shutil.rmtree(lab.state / "rollouts")
    shutil.copytree(lab.directory / "other" / ".cryofw" / "rollouts", lab.state / "rollouts")
    return ("deploy", "good.bin", "--yes")


def memory_of_the_host_damaged(lab: RecordedLab) -> Command:
    """What the host remembers of the journal is lost: it does not simply start anew."""
    for path in (lab.state / "sim" / "homes" / "journals").iterdir():
        path.write_bytes(b"{}")
    return RESUME


def copy_went_on(lab: RecordedLab) -> Command:
    """A copy drove the same devices further; the one that was copied would repeat it."""
    copy = lab.lab.directory / "copy"
    shutil.copytree(lab.state, copy, ignore=shutil.ignore_patterns("sim"))
    (lab.state / "sim").rename(copy / "sim")
    lab.lab.run("approve", "--stage", "fleet", "--state", "copy").expect(0)
    lab.lab.run("resume", "--state", "copy").expect(0)
    (copy / "sim").rename(lab.state / "sim")
    return RESUME


def devices_of_another_host(lab: RecordedLab) -> Command:
    """A device without a lease cannot tell two hosts apart."""
    lab.lab.run("abort", "--yes").expect(0)
    old = 'port: "sim://rig-a"'
    edit_fleet(lab.lab, old, f"{old}, owner: cryo-host-9.lab")
    return ("deploy", "drift.bin", "--yes")


# --- what a record may say ------------------------------------------------------------------


def confirmed_without_a_verdict(lab: RecordedLab) -> Command:
    lab.journal(e.ImageConfirmed("c2-a", lab.lab.hash("good")))
    return AUDIT


def gate_passed_by_hand(lab: RecordedLab) -> Command:
    lab.journal(e.GatePassed("fleet", {}))
    return AUDIT


def stage_skipped(lab: RecordedLab) -> Command:
    lab.journal(e.StageStarted("fleet", "test-rig"))
    return AUDIT


def rollout_ended_by_hand(lab: RecordedLab) -> Command:
    lab.journal(e.RolloutEnded(e.Ending.CONFIRMED, "trust me"))
    return AUDIT


def records_of_another_rollout(lab: RecordedLab) -> Command:
    """Verdicts of another rollout, spliced in."""
    lines = lab.lines
    other = (lab.directory / "other" / ".cryofw" / "journal.jsonl").read_bytes()
    then = json.loads(lines[-1])["t"]
    spliced = [
        edited(line, t=then)
        for line in other.splitlines(keepends=True)
        if b"verdict-reached" in line
    ]
    lab.sign(lab.write_anew(renumbered([*lines, *spliced])), lab.lab)
    return AUDIT


def verdict_of_another_device(lab: RecordedLab) -> Command:
    """The evidence of one device lets another one be confirmed."""
    lines = lab.lines
    own = lab.find("verdict-reached", "c1-b")
    passed = lines[lab.find("verdict-reached", "c1-a")]
    lines[own] = edited(passed, n=own, t=json.loads(lines[own])["t"], device="c1-b")
    lab.sign(lab.write_anew(lines), lab.lab)
    return AUDIT


def spliced_and_resumed(lab: RecordedLab) -> Command:
    """The end of another lab's journal on the beginning of this one."""
    other = (lab.directory / "other" / ".cryofw" / "journal.jsonl").read_bytes()
    lab.write([*lab.lines[:9], *other.splitlines(keepends=True)[9:]])
    return RESUME


# --- evidence beside the journal ------------------------------------------------------------


def readings_of_another_device(lab: RecordedLab) -> Command:
    path = lab.rollout / "readings.jsonl"
    text = path.read_bytes()
    swapped = (
        text.replace(b'"c1-a"', b'"?"').replace(b'"c1-b"', b'"c1-a"').replace(b'"?"', b'"c1-b"')
    )
    path.write_bytes(swapped)
    return AUDIT


def readings_of_another_rollout(lab: RecordedLab) -> Command:
    (other,) = (lab.directory / "other" / ".cryofw" / "rollouts").iterdir()
    shutil.copy(other / "readings.jsonl", lab.rollout / "readings.jsonl")
    return AUDIT


def one_reading_changed(lab: RecordedLab) -> Command:
    path = lab.rollout / "readings.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b"readout_snr" in line)
    head, _, tail = lines[at].partition(b'"readout_snr":')
    lines[at] = head + b'"readout_snr":' + b"9" + tail[1:]
    assert b"".join(lines) != path.read_bytes()
    path.write_bytes(b"".join(lines))
    return AUDIT


def readings_gone(lab: RecordedLab) -> Command:
    (lab.rollout / "readings.jsonl").unlink()
    return AUDIT


def plan_swapped(lab: RecordedLab) -> Command:
    """A plan that asks for no approval, under the journal of one that does."""
    path = lab.rollout / "plan.json"
    text = path.read_text()
    assert '"then_approve": true' in text
    path.write_text(text.replace('"then_approve": true', '"then_approve": false'))
    return RESUME


def plan_of_another_rollout(lab: RecordedLab) -> Command:
    (other,) = (lab.directory / "other" / ".cryofw" / "rollouts").iterdir()
    shutil.copy(other / "plan.json", lab.rollout / "plan.json")
    return AUDIT


def image_swapped(lab: RecordedLab) -> Command:
    """An image of a key that nobody trusts, under the name of the release."""
    mallory = (lab.directory / "other" / "good.bin").read_bytes()
    (lab.state / "images" / f"{lab.lab.hash('good')}.bin").write_bytes(mallory)
    return AUDIT


# --- journals that follow one another -------------------------------------------------------


def retired(lab: RecordedLab) -> Path:
    """The journal is retired; where the old one lies."""
    lab.lab.run("abort", "--yes").expect(0)
    lab.lab.run("audit", "retire").expect(0)
    (found,) = (lab.state / "retired").glob("*.jsonl")
    return found


def retired_one_changed(lab: RecordedLab) -> Command:
    path = retired(lab)
    path.write_bytes(path.read_bytes().replace(b"anna", b"bnna", 1))
    return AUDIT


def retired_one_swapped(lab: RecordedLab) -> Command:
    """Another closed journal, sound in itself, under the name of the one before."""
    path = retired(lab)
    other = lab.directory / "other" / ".cryofw"
    checkpoint = (
        (other / "checkpoint.json")
        .read_bytes()
        .replace(b'"journal.jsonl"', json.dumps(f"retired/{path.name}").encode())
    )
    shutil.copy(other / "journal.jsonl", path)
    for beside in path.parent.glob(f"{path.name}.*"):
        shutil.rmtree(beside) if beside.is_dir() else beside.unlink()
    (path.parent / "new").write_bytes(checkpoint)
    name = next(p for p in (lab.state / "retired").iterdir() if p.name == "new")
    name.rename(path.parent / f"{path.stem}.checkpoint.json")
    return ("status",)


def chain_broken(lab: RecordedLab) -> Command:
    """The first record names another journal before it: quarantine and history are gone."""
    retired(lab)
    first, *rest = lab.lines
    forged = edited(first, origin="cryofw/journal/" + "ab" * 16)
    lab.sign(lab.write_anew([forged, *rest]), lab.lab)
    return ("deploy", "drift.bin", "--yes")
