"""The audit log as its users meet it: a signed rollout, its proofs, its witnesses, its home."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.flows.small_lab import SmallLab

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SmallLab:
    """A lab with a journal key, after a rollout to its rig and canary."""
    lab = SmallLab.lay_out(tmp_path_factory.mktemp("audit") / "lab")
    lab.run("keys", "generate", "journal", "--purpose=journal", "--no-passphrase").expect(0)
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    return lab


@pytest.fixture
def lab(template: SmallLab, tmp_path: Path) -> SmallLab:
    """A copy of it of this test's own."""
    return template.copy_to(tmp_path / "lab")


def sizes(lab: SmallLab) -> tuple[int, int]:
    """Records, and how many of them are signed."""
    report = lab.run("audit", "verify", "--json").expect(0).json_lines[0]
    return report["records"], report["signed"]


def test_rollout_signs_its_journal_and_the_audit_asks_for_it(lab: SmallLab) -> None:
    records, signed = sizes(lab)
    assert records == signed > 10
    lab.run("audit", "verify").expect(0, "images     2, signed by keys", "by journal")
    note = (lab.state / "checkpoint").read_text()
    lab.run("audit", "checkpoint").expect(0, note)
    (lab.state / "checkpoint").unlink()
    lab.run("audit", "verify").expect(4, "no signed checkpoint", "cryofw audit checkpoint")
    lab.run("audit", "checkpoint").expect(0, note)
    lab.run("audit", "verify").expect(0)


def test_what_a_person_says_is_signed_at_once(lab: SmallLab) -> None:
    lab.run("approve", "--stage", "fleet").expect(0)
    records, signed = sizes(lab)
    assert records == signed
    lab.run("stop", "--why", "smoke").expect(0)
    assert sizes(lab)[0] > records
    assert sizes(lab)[0] == sizes(lab)[1]
    lab.run("pin", "rig-a", "--exclude", "--why", "mine").expect(0)
    assert sizes(lab)[0] == sizes(lab)[1]


def test_key_that_asks_is_not_waited_for(lab: SmallLab) -> None:
    name = "keys/journal.pem"
    key = lab.directory / name
    key.unlink()
    lab.run("approve", "--stage", "fleet").expect(0, "the journal is not signed yet", name)
    records, signed = sizes(lab)
    assert records == signed + 1


def test_other_key_than_the_trusted_one_is_refused(lab: SmallLab) -> None:
    ring = ("--keyring", "other.yaml")
    lab.run("keys", "generate", "eve", "--purpose=journal", "--no-passphrase", *ring).expect(0)
    lab.run("audit", "verify", *ring).expect(4, "not signed by a journal key that is trusted")
    lab.run("audit", "verify", "--key", "keys/eve.pub.pem").expect(4)
    lab.run("audit", "verify", "--key", "keys/journal.pub.pem").expect(0)
    key = lab.run("audit", "checkpoint", "--verifier-key").expect(0).out.strip()
    lab.run("audit", "verify", "--key", key).expect(0, "signed")
    lab.run("audit", "verify", "--key", "firmware").expect(5, "not for purpose journal")


def test_image_of_an_unknown_signer_is_named_at_its_record(lab: SmallLab) -> None:
    name = lab.hash("good")
    (lab.state / "images" / f"{name}.bin").write_bytes((lab.directory / "drift.bin").read_bytes())
    lab.run("audit", "verify").expect(4, "record 0 at byte 0", "the release cannot be proven")


def test_encrypted_journal_key_that_nobody_opens_stops_no_rollout(lab: SmallLab) -> None:
    for path in (lab.directory / "keys").glob("journal*"):
        path.unlink()
    text = (lab.directory / "keys.yaml").read_text()
    kept = [line for line in text.splitlines() if "journal" not in line]
    (lab.directory / "keys.yaml").write_text("\n".join(kept) + "\n")
    secret = lab.directory / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    lab.run(
        "keys", "generate", "journal", "--purpose=journal", "--passphrase-file", "secret"
    ).expect(0)
    lab.run("abort", "--yes").expect(0, "the journal will not be signed", "passphrase")


def test_proof_of_one_device_needs_a_file_and_a_public_key(lab: SmallLab, tmp_path: Path) -> None:
    lab.run("audit", "prove", "rig-a").expect(0, "rig-a.tlog-proof")
    lab.run("audit", "prove", "rig-a").expect(5, "exists already")
    elsewhere = SmallLab(tmp_path / "elsewhere")
    elsewhere.directory.mkdir()
    for path in ("rig-a.tlog-proof", "keys/journal.pub.pem"):
        shutil.copy(lab.directory / path, elsewhere.directory)
    check = ("audit", "verify-proof", "rig-a.tlog-proof", "--key", "./journal.pub.pem")
    elsewhere.run(*check).expect(
        0, "rig-a runs 1.1.0", lab.hash("good"), "verdict on rig-a: passed"
    )
    claim = elsewhere.run(*check, "--json").expect(0).json_lines[0]
    assert (claim["version"], claim["state"], claim["signers"]) == (
        "1.1.0", "confirmed", ["./journal.pub.pem"],
    )  # fmt: skip
    proof = elsewhere.directory / "rig-a.tlog-proof"
    proof.write_bytes(proof.read_bytes().replace(b"index ", b"index 1", 1))
    elsewhere.run(*check).expect(4)
    elsewhere.run("audit", "verify-proof", "rig-a.tlog-proof").expect(4, "trusted: none")
    lab.run("audit", "prove", "rig-b").expect(3, "does not say what 'rig-b' runs")
    lab.run("audit", "verify").expect(0, "verified")


def test_witness_elsewhere_cosigns_and_finds_a_fork(lab: SmallLab, tmp_path: Path) -> None:
    bert = SmallLab(tmp_path / "bert")
    bert.directory.mkdir()
    bert.run("keys", "generate", "bert", "--purpose=witness", "--no-passphrase").expect(0)
    shutil.copy(lab.directory / "keys" / "journal.pub.pem", bert.directory / "journal.pub.pem")
    fork = lab.copy_to(tmp_path / "fork")

    def ask(one: SmallLab, size: int, exit_code: int, *says: str) -> None:
        one.run("audit", "checkpoint", "--from", str(size), "-o", "request", "--force").expect(0)
        shutil.copy(one.directory / "request", bert.directory / "request")
        answer = ("-o", "answer", "--force", "--key", "./journal.pub.pem")
        bert.run("audit", "witness", "request", *answer).expect(exit_code, *says)

    ask(lab, 0, 0, "by bert")
    size = sizes(lab)[1]
    lab.run("approve", "--stage", "fleet").expect(0)
    ask(lab, 0, 5, f"this witness has seen {size} records")
    ask(lab, size, 0)
    keys = ("--witness-key", "bert.pub.pem", "--witnesses", "1")
    shutil.copy(bert.directory / "keys" / "bert.pub.pem", lab.directory)
    shutil.copy(bert.directory / "answer", lab.directory)
    lab.run("audit", "verify", *keys).expect(4, "0 of 1 witnesses")
    lab.run("audit", "accept", "answer", *keys[:2]).expect(0, "kept")
    lab.run("audit", "verify", *keys, "--since", "answer").expect(0, "witness", "kept elsewhere")
    shutil.copy(bert.directory / "answer", fork.directory)
    fork.run("audit", "verify").expect(0)
    fork.run("audit", "verify", "--since", "answer").expect(4, "cut, or an older copy")
    fork.run("abort", "--yes", "--why", "another way").expect(0)
    fork.run("audit", "verify", "--since", "answer").expect(4, "written anew")
    ask(fork, size + 1, 5, "written anew")


def test_export_is_a_copy_that_verifies_and_drives_nothing(lab: SmallLab) -> None:
    lab.run("audit", "export", "public").expect(0, "exported")
    lab.run("audit", "verify", "--state", "public").expect(0, "verified")
    lab.run("audit", "show", "--state", "public", "--device", "rig-a").expect(0, "for good")
    assert (lab.directory / "public" / "tile" / "0").is_dir()
    lab.run("audit", "export", ".").expect(5, "mix two journals")
    lab.run("resume", "--state", "public").expect(3)


def test_rollout_cannot_begin_anew_in_an_empty_directory(lab: SmallLab) -> None:
    lost = lab.directory / "lost"
    lost.mkdir()
    for name in ("journal.jsonl", "checkpoint.json", "checkpoint", "tree"):
        (lab.state / name).rename(lost / name)
    refused = lab.run("deploy", "good.bin", "--yes").expect(5, "is not the one that last drove")
    lab.run("plan", "good.bin").expect(5, "is not the one that last drove")
    named = refused.err.partition("rehome ")[2].split()[0]
    lab.run("audit", "rehome", named, "--why", "").expect(2, "needs a reason")
    lab.run("audit", "rehome", named, "--why", "the disk died").expect(0, "rehomed")
    lab.run("deploy", "good.bin", "--yes", "--stage", "test-rig").expect(0)
    lab.run("audit", "show").expect(0, "which is lost", "the disk died")
    lab.run("audit", "verify").expect(0, "verified")


def test_journal_is_retired_and_the_next_one_knows_the_lab(lab: SmallLab) -> None:
    lab.run("audit", "retire").expect(5, "still open")
    lab.run("abort", "--yes").expect(0)
    (lab.directory / "kept").write_bytes((lab.state / "checkpoint").read_bytes())
    lab.run("audit", "retire", "--why", "year end").expect(0, "retired/")
    lab.run("audit", "verify", "--since", "kept").expect(0, "continues", "verified")
    lab.run("status").expect(0, "aborted")
    lab.run("inventory").expect(0, "1.1.0")
    lab.run("rollback", "--yes").expect(5, "in a journal that was retired")
    lab.run("deploy", "drift.bin", "--yes").expect(6)
    lab.run("audit", "verify", "--since", "kept").expect(0, "continues")
    (name,) = (lab.state / "retired").glob("*.jsonl")
    told = lab.run("audit", "show", "--journal", f"retired/{name.name}").expect(0, "closed this")
    assert "rollout of 1.1.0" in told.out
    first = json.loads(name.read_text().splitlines()[0])
    assert first["kind"] == "rollout-started"


def test_two_journal_keys_ask_for_a_name_and_stop_no_rollback(lab: SmallLab) -> None:
    lab.run("keys", "generate", "second", "--purpose=journal", "--no-passphrase").expect(0)
    lab.run("audit", "checkpoint").expect(3, "has 2 journal keys", "CRYOFW_JOURNAL_KEY")
    lab.run("abort", "--yes").expect(0, "the journal will not be signed", "must be named")
    lab.run("audit", "verify").expect(0, "not signed yet")


def test_backup_older_than_the_latest_rollout_is_taken_up_as_documented(lab: SmallLab) -> None:
    """docs/operating.md, "After a restore": the lab went on after the backup was made."""
    backup = lab.directory / "backup"
    shutil.copytree(lab.state, backup, ignore=shutil.ignore_patterns("sim"))
    lab.run("deploy", "good.bin", "--yes").expect(75)
    (lab.directory / "kept").write_bytes((lab.state / "checkpoint").read_bytes())
    for path in lab.state.iterdir():
        if path.name != "sim":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(backup, lab.state, dirs_exist_ok=True)

    lab.run("audit", "verify").expect(0)
    lab.run("audit", "verify", "--since", "kept").expect(4, "cut, or an older copy")
    refused = lab.run("resume").expect(5, "records of it; this copy has")
    lab.run("inventory", "--read").expect(0, "1.1.0")
    lab.run("stop").expect(0)
    lab.run("plan", "good.bin").expect(5, "is not the one that last drove")
    named = refused.err.partition("rehome ")[2].split()[0]
    lab.run("audit", "rehome", named, "--why", "the disk died").expect(0)
    lab.run("audit", "retire").expect(0)
    lab.run("deploy", "good.bin", "--yes").expect(75, "needs an approval")
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    assert set(lab.running().values()) == {"good"}
    lab.run("audit", "verify").expect(0, "continues")


def test_state_directory_of_an_older_version_is_taken_up_in_mid_rollout(lab: SmallLab) -> None:
    """It kept no signature, no leaf hashes and no memory of who drove what."""
    for name in ("tree", "sim/homes"):
        shutil.rmtree(lab.state / name)
    (lab.state / "checkpoint").unlink()
    lab.run("resume", "--stage", "canary-cryostat").expect(0)
    records, signed = sizes(lab)
    assert records == signed
    assert (lab.state / "tree" / "leaves").stat().st_size == 32 * records
    assert (lab.state / "sim" / "homes" / "devices").is_dir()
