"""Every attack that was thought of, each refused with 4 or 5 and a message that names the reason.

A row: what it is called, the CVE or the idea behind it, how it is prepared (which returns the
command line that somebody then runs), the exit code, and words of the message. Nothing may have
been done to any device, and nobody may be left with a traceback or with the jargon of a library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.faults import repository_attacks as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.attacked_lab import AttackedLab


class Attack(NamedTuple):
    """One row."""

    id: str
    idea: str
    build: Callable[[AttackedLab], tuple[str, ...]]
    exit_code: int
    says: tuple[str, ...]


INVALID, REFUSED = 4, 5

REPOSITORY = (
    Attack("threshold-0", "CVE-2026-23992: no key has to sign", r.threshold_zero, INVALID,
           ("no key needs to sign",)),
    Attack("threshold-0-of-a-product", "the same in a delegation", r.delegation_threshold_zero,
           INVALID, ("no key needs to sign",)),
    Attack("key-twice", "CVE-2020-6174: one key id counts twice", r.key_listed_twice, INVALID,
           ("counts one key twice",)),
    Attack("key-under-two-ids", "one key under two ids is two signers", r.key_under_two_ids,
           INVALID, ("counts one key twice",)),
    Attack("signature-twice", "one signature given twice meets 2-of-n", r.one_signature_twice,
           INVALID, ("more than one signature",)),
    Attack("root-of-one", "a root that one stolen key replaces", r.root_of_one_person, INVALID,
           ("by one person alone",)),
    Attack("root-signed-by-one", "1 of the 2 signatures", r.root_signed_by_one, INVALID,
           ("not signed by the keys", "root has 1 of the 2 signatures")),
    Attack("arbitrary-root", "CVE-2020-15163: a root that the one before did not sign",
           r.root_signed_by_strangers, INVALID, ("root has 0 of the 2 signatures",)),
    Attack("root-skips-a-version", "a chain with a hole hides a rotation", r.root_skips_a_version,
           INVALID, ("another version", "root version 2")),
    Attack("zero-signatures", "CVE-2020-10759: nothing signed is accepted", r.no_signature,
           INVALID, ("timestamp has 0 of the 1 signatures",)),
    Attack("signed-by-another-board", "CVE-2026-33552: roles united across groups",
           r.product_signed_by_another_product, INVALID, ("not signed by the keys",)),
    Attack("signed-by-the-server", "a stolen online key releases firmware",
           r.product_signed_by_the_server, INVALID, ("not signed by the keys",)),
    Attack("rotated-key", "a key goes on signing after it lost its role", r.key_without_its_role,
           INVALID, ("not signed by the keys",)),
    Attack("trust-on-first-use", "a server that is believed because it is there",
           r.nobody_is_trusted, REFUSED, ("no release repository is trusted", "fingerprint")),
    Attack("another-repository", "a sound repository of somebody else", r.another_repository,
           INVALID, ("not signed by the keys",)),
    Attack("trust-replaced", "the pinned root is replaced in passing",
           r.trust_replaced_in_silence, REFUSED, ("another root is trusted", "--force")),
    Attack("another-fingerprint", "the root file was swapped on its way",
           r.fingerprint_of_another_file, REFUSED, ("not the root file that you were told of",)),
    Attack("trust-in-one-person", "a first root that one person made", r.trust_in_one_person,
           INVALID, ("by one person alone",)),
    Attack("trust-in-nobody", "a first root that nobody signed", r.trust_in_an_unsigned_root,
           INVALID, ("not signed by the keys", "root has 0 of the 2 signatures")),
    Attack("expired", "freeze: the old state is offered for ever", r.expired, INVALID,
           ("has expired", "timestamp since 2020", "revoked since")),
    Attack("expired-root", "the keys themselves are out of date", r.expired_root, INVALID,
           ("has expired", "root since 2020")),
    Attack("expired-product", "the board's own word is out of date", r.expired_product, INVALID,
           ("has expired", "cc40 since 2020")),
    Attack("expiry-moved", "another date in the signed file", r.expiry_moved_by_hand, INVALID,
           ("not signed by the keys",)),
    Attack("break-glass-by-name", "one forgiven role must not forgive the others",
           r.break_glass_for_another_role, INVALID, ("has expired", "snapshot since 2020")),
    Attack("break-glass-signature", "break-glass forgives expiry, never a signature",
           r.break_glass_for_a_signature, INVALID, ("not signed by the keys",)),
    Attack("break-glass-rollback", "break-glass forgives expiry, never a version",
           r.break_glass_for_a_rollback, INVALID, ("rolled back",)),
    Attack("stale-plan", "a plan is kept until its release was revoked",
           r.plan_that_outlived_its_release, REFUSED, ("not vouched for any more",)),
    Attack("rolled-back", "an older copy of the whole repository", r.rolled_back, INVALID,
           ("rolled back", "timestamp 3 is offered, this host has seen 4")),
    Attack("snapshot-rolled-back", "a new timestamp for an old snapshot", r.snapshot_rolled_back,
           INVALID, ("rolled back", "snapshot 3 is offered, this host has seen 4")),
    Attack("revocation-hidden", "a stolen online key hides a revocation", r.product_rolled_back,
           INVALID, ("rolled back", "cc40 3 is offered, this host has seen 4")),
    Attack("product-left-out", "a board vanishes from the snapshot", r.product_left_out, INVALID,
           ("it leaves out cc40",)),
    Attack("mix-and-match", "old and new files together", r.mixed_and_matched, INVALID,
           ("not the one that its signed metadata names",)),
    Attack("role-in-place-of-another", "a signed file under another name",
           r.another_role_in_its_place, INVALID, ("snapshot",)),
    Attack("old-bundle", "a bundle from before a revocation", r.bundle_from_before_a_revocation,
           INVALID, ("rolled back", "get a fresh one")),
    Attack("role-name-traversal", "CVE-2021-41131, CVE-2026-24686: ../ in a role's name",
           r.role_name_that_leads_out, INVALID, ("no product", "could lead out")),
    Attack("target-path-traversal", "../ in the path of a target", r.target_path_that_leads_out,
           INVALID, ("cannot be used",)),
    Attack("image-bit-flipped", "one bit of the image on the server",
           r.image_swapped_on_the_server, INVALID, ("not the one that its signed metadata",)),
    Attack("image-of-another-release", "a signed image in another's place",
           r.image_swapped_for_another_release, INVALID, ("cc40/1.1.0.bin",)),
    Attack("image-cut", "a truncated image", r.image_cut_short, INVALID,
           ("not the one that its signed metadata names",)),
    Attack("endless-image", "endless data instead of an image", r.image_without_end, INVALID,
           ("more data than",)),
    Attack("endless-metadata", "endless data instead of metadata", r.metadata_without_end, INVALID,
           ("more data than",)),
    Attack("nested-metadata", "CVE-2026-26209: nesting exhausts the reader",
           r.metadata_nested_without_end, INVALID, ("malformed",)),
    Attack("image-withheld", "the file is not given", r.image_withheld, INVALID,
           ("lacks cc40/1.1.0.bin",)),
    Attack("huge-image", "a length that fills the disk", r.image_said_to_be_huge, INVALID,
           ("larger than any image",)),
    Attack("image-is-a-pipe", "a named pipe that never ends or never begins", r.image_is_a_pipe,
           INVALID, ("no regular file",)),
    Attack("swapped-after-the-check", "between plan and deploy, in the lab's store",
           r.swapped_after_the_check, INVALID, ("another image than its name says",)),
    Attack("bundle-bit-flipped", "a damaged bundle", r.bundle_with_a_flipped_byte, INVALID,
           ("damaged",)),
    Attack("bundle-repacked", "a bundle packed anew with another image",
           r.bundle_with_another_image, INVALID, ("not the one that its signed metadata",)),
    Attack("revoked", "a bad release goes on being deployed", r.revoked, REFUSED,
           ("was revoked", "shifts the readout", "rita@lab")),
    Attack("revoked-file", "the same image by its file", r.revoked_and_given_as_a_file, REFUSED,
           ("was revoked", "shifts the readout")),
    Attack("revoked-plan", "a plan made before the revocation", r.revoked_after_it_was_planned,
           REFUSED, ("was revoked", "shifts the readout")),
    Attack("host-range", "a release for another cryofw", r.for_another_host, REFUSED,
           ("not for this cryofw", ">=99")),
    Attack("another-board", "a release of another board for this fleet", r.for_another_board,
           REFUSED, ("for board cc41, this is cc40",)),
    Attack("unknown-board", "a board that nobody releases for", r.board_nobody_releases_for,
           REFUSED, ("no releases for the board 'cc99'",)),
    Attack("released-by-another-board", "a board's key releases for another board",
           r.released_by_another_board, INVALID, ("the key of cc41 signed a release of another",)),
    Attack("record-of-another-image", "CVE-2026-22703: an entry not bound to its artifact",
           r.bound_to_another_image, INVALID, ("another image than its record says", "version")),
    Attack("no-image-key", "CVE-2025-67903: a release key alone makes firmware",
           r.signed_by_no_image_key, INVALID, ("rightly signed, its image is not",)),
    Attack("negative-number", "a number that sorts before all", r.record_of_a_negative_number,
           INVALID, ("number of 32 bits",)),
    Attack("no-record", "a target without what was signed about it", r.record_missing, INVALID,
           ("has no record",)),
    Attack("record-of-another-version", "an old version under a new name",
           r.record_of_another_version, INVALID, ("its record is that of 'cc40/1.0.0'",)),
    Attack("record-of-the-future", "a schema whose rules are not known", r.record_of_the_future,
           REFUSED, ("another version of cryofw", "cryofw.release/v2")),
    Attack("one-number-twice", "which of two is the latest?", r.two_releases_with_one_number,
           INVALID, ("have the same number",)),
    Attack("downgrade", "an older version released as new", r.older_release, REFUSED,
           ("is older than the running 1.0.0", "--downgrade")),
    Attack("counter-rollback", "MCUboot #2282: a rollback that will not boot",
           r.rollback_below_the_counter, REFUSED, ("security counter 0 is below the running 5",)),
    Attack("version-reused", "one version, two images", r.version_released_twice, REFUSED,
           ("released with another image",)),
    Attack("key-of-another-purpose", "an image key signs metadata", r.key_of_another_purpose,
           REFUSED, ("not for purpose release",)),
    Attack("rotation-by-one", "one root key rotates all others", r.rotation_without_the_root_keys,
           REFUSED, ("signatures are missing", "needs 2 of anna, bart, carol")),
    Attack("plain-http", "anybody on the way reads and delays", r.plain_http, REFUSED,
           ("only https:",)),
)  # fmt: skip

ATTACKS = (*REPOSITORY,)
"""All rows; each group of attacks is a tuple of its own, its builders a module beside this."""

JARGON = ("Traceback", "Error(", "DeserializationError", "UnsignedMetadata", "keyval", "None")
"""What no person should have to read."""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_is_refused_and_its_reason_named(attack: Attack, attacked: AttackedLab) -> None:
    command = attack.build(attacked)
    before, records = attacked.lab.see(), len(attacked.lab.records())

    ran = attacked.lab.run(*command)

    ran.expect(attack.exit_code, "error:", "hint:", *attack.says)
    assert not [word for word in JARGON if word in ran.out + ran.err], ran.err
    assert attacked.lab.see() == before, "something was done to a device"
    assert len(attacked.lab.records()) == records, "something was begun"
    assert not list(attacked.directory.parent.rglob("*evil*"))


def test_without_an_attack_the_same_commands_do_their_work(attacked: AttackedLab) -> None:
    attacked.lab.run(*attacked.deploy_latest, "--stage", "test-rig").expect(0, "gate passed")

    assert attacked.lab.running()["rig-a"] == "good"


def test_each_row_is_an_attack_of_its_own() -> None:
    assert len({attack.id for attack in ATTACKS}) == len(ATTACKS)
    assert len({attack.build for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.exit_code for attack in ATTACKS} <= {INVALID, REFUSED}
    assert all(attack.says and attack.idea for attack in ATTACKS)
    assert len(ATTACKS) >= 60
