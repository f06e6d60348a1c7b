"""Every attack that was thought of, each refused with 4 or 5 and a message that names the reason.

A row: what it is called, the CVE or the idea behind it, how it is prepared (which returns the
command line that somebody then runs), the exit code, and words of the message. Nothing may have
been done to any device, and nobody may be left with a traceback or with the jargon of a library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.faults import approval_attacks as a
from tests.faults import repository_attacks as r

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.attacked_lab import AttackedLab
    from tests.faults.guarded_lab import GuardedLab


class Attack(NamedTuple):
    """One row."""

    id: str
    idea: str
    build: Callable[[Any], tuple[str, ...]]
    exit_code: int
    says: tuple[str, ...]
    lab: str = "attacked"
    """The fixture that it is prepared on."""


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

APPROVALS = (
    Attack("approval-replayed", "an approval is used again", a.replayed, REFUSED,
           ("was used before",)),
    Attack("approval-of-another-plan", "an approval is good for one plan", a.of_another_plan,
           REFUSED, ("is for another plan",)),
    Attack("approval-of-another-rollout", "an approval is good for one rollout",
           a.of_another_rollout, REFUSED, ("is for another rollout",)),
    Attack("approval-too-late", "a stage is approved after it began", a.of_a_stage_that_began,
           REFUSED, ("has started already",)),
    Attack("approval-of-another-stage", "an approval is good for one stage", a.of_another_stage,
           REFUSED, ("approves stage",)),
    Attack("approval-of-another-policy", "signed under weaker rules", a.under_another_policy,
           REFUSED, ("is for another policy",)),
    Attack("approval-expired", "an approval from the drawer", a.expired, REFUSED, ("has expired",)),
    Attack("approval-for-years", "an approval that never ends", a.good_for_years, REFUSED,
           ("longer than the policy allows",)),
    Attack("approval-of-tomorrow", "a clock set forward makes approvals last", a.issued_tomorrow,
           REFUSED, ("in the future",)),
    Attack("approval-of-another-journal", "a forked journal is approved", a.saw_another_journal,
           INVALID, ("has seen another journal",)),
    Attack("approval-of-a-cut-journal", "records vanished since the approver looked",
           a.saw_a_longer_journal, INVALID, ("has seen another journal",)),
    Attack("approval-changed", "one word changed after it was signed",
           a.changed_after_it_was_signed, INVALID, ("the signature is not one of the key",)),
    Attack("requester-approves", "one person asks and approves", a.by_the_requester, REFUSED,
           ("asked for this rollout",)),
    Attack("two-keys-of-one-person", "two keys make one person two", a.by_two_keys_of_one_person,
           REFUSED, ("has approved stage fleet already", "different people")),
    Attack("stranger-approves", "any ssh key will do", a.by_a_stranger, INVALID,
           ("is not one of bart@lab", "nobody has it")),
    Attack("name-of-another", "a good key under another name", a.in_the_name_of_another, INVALID,
           ("is not one of carol@lab",)),
    Attack("approver-without-role", "who deploys may not approve", a.without_the_role, REFUSED,
           ("dora@lab may not approve",)),
    Attack("revoked-key", "a stolen key goes on approving", a.by_a_revoked_key, REFUSED,
           ("was revoked", "laptop stolen")),
    Attack("revoked-person", "who left goes on approving with another key", a.by_a_revoked_person,
           REFUSED, ("was revoked", "laptop stolen")),
    Attack("revoked-key-at-hand", "the same at the terminal", a.at_hand_and_revoked, REFUSED,
           ("does not count any more", "laptop stolen")),
    Attack("wrong-namespace", "a signature of a git commit approves", a.for_another_namespace,
           INVALID, ("made for another purpose", "'file'")),
    Attack("act-for-approval", "a signature for another act approves", a.as_another_act, INVALID,
           ("made for another purpose",)),
    Attack("another-act", "one kind of statement stands for another",
           a.another_act_as_an_approval, REFUSED, ("is for another act",)),
    Attack("no-touch", "malware uses the token that is plugged in", a.without_a_touch, REFUSED,
           ("nobody touched the key",)),
    Attack("touch-added", "the flag is set afterwards", a.with_a_touch_added, INVALID,
           ("the signature is not one of the key",)),
    Attack("rsa", "keys that the policy does not take", a.by_rsa, REFUSED, ("takes no RSA keys",)),
    Attack("rsa-sha1", "SHA-1 is a shambles: ssh-rsa", a.by_rsa_with_sha1, INVALID,
           ("of the kind 'ssh-rsa'",)),
    Attack("public-key-swapped", "a signature carries another's public key",
           a.with_another_public_key, INVALID, ("the signature is not one of the key",)),
    Attack("certificate-forged", "the authority did not sign it", a.certificate_forged, INVALID,
           ("is forged",)),
    Attack("certificate-of-another-role", "an authority for deploys makes approvers",
           a.certificate_of_another_role, REFUSED, ("may not vouch for that", "to deploy")),
    Attack("certificate-of-a-stranger", "an authority of somebody else",
           a.certificate_of_a_stranger, INVALID, ("unknown authority",)),
    Attack("certificate-by-a-person", "an approver makes approvers", a.certificate_by_a_person,
           INVALID, ("unknown authority",)),
    Attack("certificate-expired", "short-lived, and over", a.certificate_expired, INVALID,
           ("has expired",)),
    Attack("certificate-of-the-future", "not valid yet", a.certificate_of_the_future, INVALID,
           ("is not valid yet",)),
    Attack("certificate-of-another", "a certificate for somebody else", a.certificate_of_another,
           INVALID, ("is not one of eve@lab",)),
    Attack("certificate-beyond-authority", "an authority speaks for who is not its own",
           a.certificate_beyond_its_authority, REFUSED, ("may not vouch for that", "eve@lab")),
    Attack("certificate-of-everybody", "no principal is every principal",
           a.certificate_of_everybody, INVALID, ("names no principal",)),
    Attack("certificate-for-one-command", "a limit is passed over: force-command",
           a.certificate_for_one_command, INVALID, ("limited", "force-command")),
    Attack("certificate-limit-unknown", "a limit that nobody knows is passed over",
           a.certificate_with_an_unknown_limit, INVALID, ("limited", "only-on-sundays")),
    Attack("certificate-of-a-host", "a host's certificate approves", a.certificate_of_a_host,
           INVALID, ("not one of a user",)),
    Attack("authority-revoked", "a revoked authority goes on vouching",
           a.certificate_of_a_revoked_authority, REFUSED, ("was revoked", "laptop stolen")),
    Attack("resume-without-role", "who approves may not deploy", a.start_without_the_role, REFUSED,
           ("bart@lab may not deploy",)),
    Attack("resume-by-stranger", "a key that nobody knows", a.start_with_an_unknown_key, REFUSED,
           ("no ssh key at hand is one that the policy knows",)),
    Attack("abort-without-role", "denial of service by abort", a.abort_without_the_role, REFUSED,
           ("anna@lab may not abort",)),
    Attack("rollback-without-role", "the same by rollback", a.rollback_without_the_role, REFUSED,
           ("anna@lab may not abort",)),
    Attack("sign-without-role", "an approver makes firmware", a.sign_without_the_role, REFUSED,
           ("bart@lab may not sign",)),
    Attack("release-without-role", "an approver makes releases", a.release_without_the_role,
           REFUSED, ("bart@lab may not release",)),
    Attack("policy-rolled-back", "an old policy knows revoked keys", a.policy_rolled_back, REFUSED,
           ("this host has seen version 3", "this is version 2")),
    Attack("policy-changed", "another policy under the same number", a.policy_changed_in_silence,
           REFUSED, ("this host has seen version 3", "this is version 3")),
    Attack("policy-swapped", "a weaker policy beside the rollout",
           a.policy_swapped_beside_the_rollout, INVALID,
           ("is not the policy that the plan froze",)),
    Attack("plan-without-policy", "a plan from before the policy", a.plan_without_a_policy, REFUSED,
           ("made without the policy",)),
    Attack("plan-of-another-policy", "a plan from before the policy changed",
           a.plan_of_another_policy, REFUSED, ("made under another policy",)),
    Attack("plan-of-nobody", "the requester hides to approve it later", a.plan_of_nobody, REFUSED,
           ("asked for by somebody whom the policy does not know",)),
    Attack("risks-without-role", "risks accepted in a plan by who may not",
           a.risks_without_the_role, REFUSED, ("anna@lab may not override",)),
    Attack("approval-by-hand", "records written by hand", a.approval_written_by_hand, INVALID,
           ("holds an approval that nobody gave", "nobody signed")),
    Attack("approval-under-another-name", "one signature under two names",
           a.approval_copied_under_another_name, INVALID,
           ("holds an approval that nobody gave", "bart@lab signed")),
    Attack("requester-approves-by-hand", "the requester writes to the journal",
           a.approval_of_the_requester_by_hand, INVALID,
           ("holds an approval that nobody gave", "asked for this rollout")),
    Attack("start-by-hand", "another requester is written into the journal",
           a.start_written_by_hand, INVALID, ("holds a start that nobody gave", "nobody signed")),
    Attack("audit-approval-by-hand", "the same, seen by the audit", a.audit_of_an_approval_by_hand,
           INVALID, ("nobody signed it",)),
    Attack("audit-too-few", "a stage began with too few approvals",
           a.audit_of_a_start_without_approvals, INVALID,
           ("needs 2 approvals; it had 1 (bart@lab)",)),
    Attack("audit-used-twice", "one statement twice in the journal",
           a.audit_of_a_statement_used_twice, INVALID, ("was used before, in record",)),
    Attack("audit-policy-gone", "nobody can say any more who might do what",
           a.audit_without_the_policy, INVALID, ("policy.yaml is missing",)),
    Attack("job-without-identity", "a job that does not say who it is", a.job_without_identity,
           REFUSED, ("this CI job does not say who it is",)),
    Attack("job-alg-none", "CVE-2022-23540: alg none", a.job_token_of_no_algorithm, INVALID,
           ("signed with 'none'",)),
    Attack("job-alg-confusion", "CVE-2016-10555: the public key as an HMAC's secret",
           a.job_token_signed_with_the_public_key, INVALID, ("signed with 'HS256'",)),
    Attack("job-alg-of-another-key", "ES256 with an RSA key", a.job_token_of_another_kind_of_key,
           INVALID, ("signed with 'ES256'",)),
    Attack("job-unknown-key", "a key that the issuer does not have", a.job_token_of_an_unknown_key,
           INVALID, ("a key that the policy does not know",)),
    Attack("job-key-in-token", "CVE-2018-0114: a token brings its own key",
           a.job_token_with_its_own_key, INVALID, ("was not signed by its issuer",)),
    Attack("job-claims-changed", "another user's login in the claims", a.job_token_changed, INVALID,
           ("was not signed by its issuer",)),
    Attack("job-another-audience", "a token for another service", a.job_token_for_another_audience,
           REFUSED, ("is for another audience",)),
    Attack("job-another-issuer", "another GitLab", a.job_token_of_another_issuer, REFUSED,
           ("comes from another issuer",)),
    Attack("job-expired", "a token from an old log", a.job_token_expired, REFUSED,
           ("has expired",)),
    Attack("job-another-project", "a fork deploys", a.job_token_of_another_project, REFUSED,
           ("is one of another project",)),
    Attack("job-open-branch", "a branch that anybody may push to deploys",
           a.job_token_of_an_open_branch, REFUSED, ("is not protected",)),
)  # fmt: skip

ATTACKS = (*REPOSITORY, *(attack._replace(lab="guarded") for attack in APPROVALS))
"""All rows; each group of attacks is a tuple of its own, its builders a module beside this."""

JARGON = ("Traceback", "Error(", "DeserializationError", "UnsignedMetadata", "keyval", "None")
"""What no person should have to read."""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_an_attack_is_refused_and_its_reason_named(
    attack: Attack, request: pytest.FixtureRequest
) -> None:
    attacked: AttackedLab = request.getfixturevalue(attack.lab)
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


def test_without_an_attack_two_people_approve_and_the_fleet_follows(guarded: GuardedLab) -> None:
    guarded.approve("bart")
    guarded.approve("carol")
    guarded.person = "anna"
    token = guarded.issuer.token(guarded.issuer.claims())
    guarded.env = {"GITLAB_CI": "true", "CRYOFW_ID_TOKEN": token}
    guarded.lab.run("resume").expect(0, "gate passed  fleet")

    assert set(guarded.lab.running().values()) == {"good"}
    guarded.lab.run("audit", "verify").expect(0, "signed acts 4")


def test_each_row_is_an_attack_of_its_own() -> None:
    assert len({attack.id for attack in ATTACKS}) == len(ATTACKS)
    assert len({attack.build for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.exit_code for attack in ATTACKS} <= {INVALID, REFUSED}
    assert all(attack.says and attack.idea for attack in ATTACKS)
    assert len(ATTACKS) >= 60
