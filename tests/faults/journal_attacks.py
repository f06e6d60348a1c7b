"""How the journal, its signatures and its evidence are attacked; see `repository_attacks`.

Where the journal's own key signs what is false, who did it is root on the host: then only the
rules, the evidence, and what others kept elsewhere can tell.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from cryofw.journal import SignedHead, TreeHead, leaf_hash, read_signed_head
from cryofw.journal.note import NoteSignature, SignedNote
from tests.faults.recorded_lab import JOURNAL_FILES, edited, renumbered, signed

if TYPE_CHECKING:
    from pathlib import Path

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
