"""Releases through the real commands: published by one, taken and rolled out by another."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from cryofw.engine.home import Home
from cryofw.journal import FileStorage
from cryofw.keys import Purpose, load_keyring, no_passphrase
from cryofw.release import (
    Announcement,
    ReleaseClient,
    Repository,
    SignerPool,
    add_release,
    admit,
    load_pinned_root,
    publish,
)
from cryofw.rollout import parse_plan
from cryofw.rollout.events import RolloutStarted
from tests.flows.small_lab import VERSIONS, SmallLab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.invariants import Fields
    from tests.flows.small_lab import Ran

KEYS = ("anna", "bart", "carol", "products", "server", "server-2", "cc40")
RIG = ("--stage", "test-rig", "--yes")


@pytest.fixture(scope="session")
def released_template(
    small_lab_template: SmallLab, tmp_path_factory: pytest.TempPathFactory
) -> SmallLab:
    """A lab with a repository that has the factory firmware and 1.1.0, and that trusts it."""
    lab = small_lab_template.copy_to(tmp_path_factory.mktemp("released") / "lab")
    for name in KEYS:
        lab.run("keys", "generate", name, "--purpose=release", "--no-passphrase").expect(0)
    lab.run(
        "release", "init", "--root", "anna", "--root", "bart", "--root", "carol",
        "--targets", "products", "--online", "server", "--product", "cc40=cc40",
    ).expect(0, "made", "fingerprint", "by another way")  # fmt: skip
    lab.run("release", "add", "factory.bin", "--commit", "f00d").expect(0, "staged")
    lab.run("release", "add", "good.bin", "--host", ">=0.1").expect(0, "number 2")
    lab.run("release", "publish").expect(0, "published", "good until")
    root = lab.directory / "releases/metadata/1.root.json"
    lab.run("release", "trust", str(root), "--repo", "releases", "--yes").expect(0, "2 of anna")
    return lab


@pytest.fixture
def lab(released_template: SmallLab, tmp_path: Path) -> SmallLab:
    """A lab of one's own; its usual source is its own copy of the repository."""
    made = released_template.copy_to(tmp_path / "lab")
    made.run(
        "release", "trust", "releases/metadata/1.root.json", "--repo", "releases", "--yes"
    ).expect(0)
    return made


def records(lab: SmallLab, kind: str) -> list[Fields]:
    return [record for record in lab.records() if record["kind"] == kind]


def rows(lab: SmallLab, *options: str) -> list[dict[str, object]]:
    (listed,) = lab.run("release", "list", "--json", *options).expect(0).json_lines
    assert isinstance(listed, list)
    return listed


def republish(lab: SmallLab, at: datetime, image: str = "") -> None:
    """Publish as if it were another day."""
    ring = load_keyring(lab.directory / "keys.yaml")
    repository = Repository(FileStorage(lab.directory / "releases", public=True), at)
    if image:
        data = (lab.directory / f"{image}.bin").read_bytes()
        firmware = admit(data, ring.public_keys(Purpose.IMAGE))
        add_release(repository, firmware, data, Announcement("rita"))
    publish(repository, SignerPool(ring, no_passphrase))


# --- the trip of a release ------------------------------------------------------------------


def test_a_release_is_deployed_and_the_journal_says_where_it_came_from(lab: SmallLab) -> None:
    before = lab.see()

    lab.run("deploy", "--release", "latest", *RIG).expect(
        0, "cc40/1.1.0, number 2, from", "vouched for until", "released", "gate passed"
    )

    assert lab.running()["rig-a"] == "good"
    lab.check_moment(before)
    (verified,) = records(lab, "release-verified")
    assert verified["release"] == "cc40/1.1.0"
    assert verified["versions"] == {
        "cc40": 2, "root": 1, "snapshot": 2, "targets": 1, "timestamp": 2
    }  # fmt: skip
    assert records(lab, "expiry-forgiven") == []
    lab.run("audit", "verify").expect(0, "verified")
    lab.run("audit", "show").expect(0, "took release cc40/1.1.0 (number 2)")
    # The same command goes on where it stopped, and resume needs no repository at all.
    shutil.rmtree(lab.directory / "releases")
    lab.run("resume", "--stage", "canary-cryostat").expect(0, "gate passed")


def test_the_way_back_comes_from_the_repository_as_well(lab: SmallLab) -> None:
    """The devices' own firmware was never given to this host as a file."""
    images = lab.state / "images"
    if images.exists():
        shutil.rmtree(images)

    (plan,) = [json.loads(lab.run("plan", "--release", "1.1.0", "--json").expect(0).out)]

    ways = {device["last_good"]["version"] for device in plan["devices"].values()}
    assert ways == {"1.0.0"}
    assert plan["origin"]["release"] == "cc40/1.1.0"
    # Given as a file instead, nobody knows what runs.
    shutil.rmtree(images)
    lab.run("plan", "good.bin").expect(5, "no way back")


def test_a_rollback_is_a_release_like_any_other(lab: SmallLab) -> None:
    lab.run("deploy", "--release", "latest", *RIG).expect(0)
    lab.run("stop").expect(0)
    lab.run("release", "add", "--again", "1.0.0").expect(2, "needs a reason")
    lab.run("release", "add", "--again", "1.0.0", "--why", "1.1.0 drifts", "--publish").expect(
        0, "takes back 1.1.0"
    )

    ran = lab.run("deploy", "--release", "latest", *RIG)

    ran.expect(0, "takes back 1.1.0", "gate passed")
    assert lab.running()["rig-a"] == "factory"
    assert records(lab, "release-verified")[-1]["rolls_back"] == "1.1.0"
    assert [row["state"] for row in rows(lab)] == ["", "latest"]


def test_a_release_says_which_versions_it_may_follow(lab: SmallLab) -> None:
    lab.sign("drift", "--force", version="2.0.0")
    add = ("release", "add", "drift.bin", "--from-versions", ">=1.1, <2", "--host", ">=0.0.1")
    lab.run(*add, "--publish").expect(0)
    lab.run("plan", "--release", "2.0.0").expect(
        5, "rig-a, c1-a, c1-b, c2-a, c2-b: 2.0.0 may come from >=1.1, <2 only, it runs 1.0.0",
        "a version in between",
    )  # fmt: skip
    lab.run("deploy", "--release", "1.1.0", "--yes").expect(75)
    lab.run("approve", "--stage", "fleet").expect(0)
    lab.run("resume").expect(0)
    lab.run("plan", "--release", "2.0.0", "-o", "plan.json").expect(0, "versions >=1.1, <2")
    made = parse_plan((lab.directory / "plan.json").read_bytes())
    assert (made.from_versions, made.host_versions) == (">=1.1, <2", ">=0.0.1")
    # What the command line adds holds as well.
    lab.run("plan", "--release", "2.0.0", "--from-versions", "!=1.1").expect(5, ">=1.1, <2, !=1.1")


def test_a_revoked_release_is_refused_everywhere_and_its_rollout_can_be_ended(
    lab: SmallLab,
) -> None:
    lab.run("deploy", "--release", "latest", *RIG).expect(0)
    lab.run("release", "revoke", "1.1.0", "--why", "shifts the readout", "--publish").expect(0)

    lab.run("deploy", "--release", "1.1.0", "--yes").expect(5, "revoked", "shifts the readout")
    lab.run("deploy", "good.bin", "--yes").expect(5, "revoked", "shifts the readout")
    lab.run("resume").expect(5, "revoked", "cryofw rollback")
    lab.run("rollback", "--yes").expect(0)

    assert set(lab.running().values()) == {"factory"}
    assert rows(lab)[1]["state"] == "revoked"
    lab.run("release", "list").expect(0, "revoked: shifts the readout (anna@lab)")
    lab.run("release", "revoke", "1.1.0", "--why", "x").expect(5, "revoked already")
    lab.run("release", "add", "--again", "1.1.0", "--why", "x").expect(5, "was revoked")


def test_a_bundle_reaches_a_lab_without_a_network(lab: SmallLab) -> None:
    bundled = lab.run("release", "bundle", "lab.zip").expect(0, "sha256", "good until")
    assert "timestamp expires" in bundled.out
    lab.run("release", "bundle", "lab.zip").expect(5, "exists already")
    shutil.rmtree(lab.directory / "releases")

    lab.run("release", "list", "--repo", "lab.zip").expect(0, "latest")
    lab.run("release", "status", "--repo", "lab.zip").expect(0, "days left")
    lab.run("deploy", "--repo", "lab.zip", "--release", "latest", *RIG).expect(0, "lab.zip")

    assert lab.running()["rig-a"] == "good"


# --- expiry ---------------------------------------------------------------------------------


def test_status_warns_before_an_expiry_and_fails_after_one(lab: SmallLab) -> None:
    lab.run("release", "status").expect(0, "timestamp", "days left")
    lab.run("release", "status", "--warn-days", "70").expect(0, "soon", "timestamp")
    republish(lab, datetime.now(UTC) - timedelta(days=50), "drift")
    soon = lab.run("release", "status", "--json").expect(0).json_lines[0]
    assert soon["soon"] == ["timestamp"]
    assert soon["expired"] == []
    republish(lab, datetime.now(UTC) - timedelta(days=70), "hang")

    lab.run("release", "status").expect(4, "expired", "cryofw release refresh")
    lab.run("deploy", "--release", "latest", "--yes").expect(4, "has expired", "timestamp since")
    lab.run("release", "refresh").expect(0, "published")
    lab.run("release", "status").expect(0)
    lab.run("release", "refresh", "root", "cc40").expect(0, "root 2")
    lab.run("plan", "--release", "latest").expect(0)


def test_break_glass_is_by_name_for_a_reason_and_in_the_journal(lab: SmallLab) -> None:
    republish(lab, datetime.now(UTC) - timedelta(days=70), "drift")
    glass = ("deploy", "--release", "1.1.0", "--accept-expired", "timestamp")
    lab.run(*glass, *RIG).expect(2, "needs a reason")
    assert lab.records() == []

    lab.run(*glass, "--why", "the server burnt", *RIG).expect(
        0, "expired metadata", "accepted by anna@lab: the server burnt", "override"
    )

    (forgiven,) = records(lab, "expiry-forgiven")
    assert forgiven["roles"] == ["timestamp"]
    assert (forgiven["by"], forgiven["why"]) == ("anna@lab", "the server burnt")
    lab.run("audit", "show", "--kind", "expiry-forgiven").expect(0, "the server burnt")
    lab.run("audit", "verify").expect(0)
    lab.run("deploy", "good.bin", "--accept-expired", "root", "--yes").expect(2, "for a release")


def test_a_broken_glass_is_not_left_open(lab: SmallLab) -> None:
    """A plan that was made in an emergency is no way round expiry for ever."""
    republish(lab, datetime.now(UTC) - timedelta(days=70), "drift")
    glass = ("--accept-expired", "timestamp", "--why", "the server burnt")
    lab.run("plan", "--release", "1.1.0", *glass, "-o", "plan.json").expect(0)
    plan = lab.directory / "plan.json"
    fields = json.loads(plan.read_bytes())
    until = datetime.fromisoformat(fields["origin"]["forgiven_until"])
    assert timedelta(hours=23) < until - datetime.now(UTC) <= timedelta(hours=24)

    fields["origin"]["forgiven_until"] = "2026-01-02T03:04:05Z"  # as if it had been made then
    plan.write_bytes(json.dumps(fields, sort_keys=True, indent=1).encode() + b"\n")
    lab.run("deploy", "--plan", "plan.json", *RIG).expect(
        5, "in an emergency that is over", "anna@lab accepted until 2026-01-02"
    )


# --- keys -----------------------------------------------------------------------------------


def test_holders_who_are_elsewhere_sign_on_a_copy(lab: SmallLab) -> None:
    keys = lab.directory / "keys"
    away = lab.directory / "away"
    away.mkdir()
    for name in ("anna", "carol"):
        (keys / f"{name}.pem").rename(away / f"{name}.pem")
    lab.run("release", "rotate", "online", "--add", "server-2", "--remove", "server").expect(
        0, "to be signed: root"
    )
    missing = lab.run("release", "publish").expect(5, "signatures are missing", "signed by bart")
    assert "anna: cannot read" in missing.err
    lab.run("release", "status").expect(0, "staged", "root 2", "root 3")
    lab.run("plan", "--release", "latest").expect(0)

    copy = lab.directory / "stick"
    shutil.copytree(lab.directory / "releases", copy)
    (away / "anna.pem").rename(keys / "anna.pem")
    lab.run("release", "sign", "--repo", "stick", "--key", "anna").expect(0, "nothing is missing")
    (keys / "anna.pem").rename(away / "anna.pem")
    shutil.rmtree(lab.directory / "releases")
    copy.rename(lab.directory / "releases")
    lab.run("release", "publish").expect(0, "root 3")

    lab.run("release", "status").expect(0, "1 of server-2")
    lab.run("plan", "--release", "latest").expect(0)
    lab.run("release", "sign").expect(5, "nothing is staged")
    lab.run("release", "publish").expect(5, "nothing is staged")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("online",), "nothing would change"),
        (("cc41", "--add", "cc40"), "no product 'cc41'"),
        (("cc40", "--add", "cc40"), "is a key of cc40 already"),
        (("cc40", "--remove", "cc40"), "would have 0 keys"),
        (("cc40", "--remove", "carol"), "has no key 'carol'"),
        (("root", "--threshold", "1"), "at least 2 keys"),
        (("root", "--threshold", "4"), "would have 3 keys, and 4 must sign"),
        (("root", "--add", "server"), "cannot serve both root and online"),
        (("timestamp", "--add", "server-2"), "no product 'timestamp'"),
        (("Root!", "--add", "cc40", "--new-product"), "cannot be a product"),
        (("cc40", "--add", "server", "--new-product"), "is a product already"),
    ],
)
def test_a_rotation_that_makes_no_sense_changes_nothing(
    lab: SmallLab, arguments: tuple[str, ...], says: str
) -> None:
    lab.run("release", "rotate", *arguments).expect(2, says)
    lab.run("release", "publish").expect(5, "nothing is staged")


# --- what a person gets wrong ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("deploy", "good.bin", "--release", "1.1.0"), 2, "either an IMAGE or --release"),
        (("deploy",), 2, "an IMAGE or --plan FILE or --release VERSION"),
        (("plan",), 2, "give an IMAGE or --release"),
        (("plan", "--release", "new"), 2, "names no release"),
        (("plan", "--release", "9.9.9"), 5, "no release cc40/9.9.9"),
        (("plan", "--release", "latest", "--repo", "nowhere"), 3, "no releases at nowhere"),
        (("plan", "--release", "latest", "--repo", "keys.yaml"), 3, "no bundle of releases"),
        (("plan", "--release", "latest", "--repo", "keys"), 3, "no release repository at"),
        (("release", "add"), 2, "either an IMAGE or --again"),
        (("release", "add", "factory.bin"), 5, "released already, as number 1"),
        (("release", "add", "factory.raw.bin"), 4, "not an MCUboot image"),
        (("release", "add", "drift.bin", "--host", "new"), 3, "no range of versions"),
        (("release", "add", "drift.bin", "--from-versions", "1"), 3, "no range of versions"),
        (("release", "add", "drift.bin", "--sbom", "keys.yaml"), 3, "the sbom is not JSON"),
        (("release", "add", "drift.bin", "--repo", "none"), 3, "none is no release repository"),
        (("release", "init", "--root", "anna", "--targets", "products", "--online", "server",
          "--product", "cc40=cc40", "--repo", "new"), 2, "would have 1 keys, and 2 must sign"),
        (("release", "init", "--root", "anna", "--root", "bart", "--targets", "products",
          "--online", "server", "--product", "cc40=cc40"), 5, "is a release repository already"),
        (("release", "init", "--root", "anna", "--root", "bart", "--targets", "products",
          "--online", "products", "--product", "cc40=cc40", "--repo", "new"), 2,
         "cannot serve both targets and online"),
        (("release", "init", "--root", "anna", "--root", "bart", "--targets", "products",
          "--online", "server", "--product", "cc40", "--repo", "new"), 2, "BOARD=NAME"),
        (("release", "init", "--root", "firmware", "--root", "bart", "--targets", "products",
          "--online", "server", "--product", "cc40=cc40", "--repo", "new"), 5,
         "not for purpose release"),
        (("release", "bundle", "x.zip", "--repo", "none"), 3, "none is no release repository"),
        (("release", "trust", "keys.yaml"), 4, "malformed"),
        (("release", "trust", "none.json"), 3, "cannot read the root file"),
        (("release", "status", "--repo", "none"), 3, "no releases at none"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_changes_nothing(
    lab: SmallLab, arguments: tuple[str, ...], code: int, says: str
) -> None:
    before = sorted((lab.directory / "releases").rglob("*.json"))

    ran = lab.run(*arguments)

    ran.expect(code, says)
    assert sorted((lab.directory / "releases").rglob("*.json")) == before
    assert lab.records() == []
    assert not (lab.directory / "none").exists()


def test_an_image_without_a_board_cannot_be_released(lab: SmallLab) -> None:
    lab.run("sign", "good.raw.bin", "bare.bin", "--version", "3.0.0").expect(0)
    lab.run("release", "add", "bare.bin").expect(3, "which board it is for", "--board")


def test_two_publishers_do_not_write_at_once(lab: SmallLab) -> None:
    with FileStorage(lab.directory / "releases").lock("publisher"):
        lab.run("release", "refresh").expect(5, "in use")


def test_an_encrypted_key_is_asked_for_its_passphrase(lab: SmallLab) -> None:
    secret = lab.directory / "secret"
    secret.write_text("wrong horse\n")
    secret.chmod(0o600)
    add = ("keys", "generate", "locked", "--purpose=release", "--passphrase-file", "secret")
    lab.run(*add).expect(0)
    lab.run("release", "rotate", "cc40", "--add", "locked", "--remove", "cc40").expect(0)

    lab.run("release", "publish").expect(5, "locked", "no passphrase was given")
    lab.run("release", "publish", "--passphrase-file", "secret").expect(0, "cc40 3")
    lab.run("plan", "--release", "latest").expect(0)


def test_versions_are_those_of_the_lab(lab: SmallLab) -> None:
    listed: Ran = lab.run("release", "list")
    listed.expect(0, VERSIONS["factory"], VERSIONS["good"], "f00d", ">=0.1")
    assert [row["number"] for row in rows(lab)] == [1, 2]


COEFFICIENTS = """\
schema: cryofw.coefficients/v1
defaults:
  readout/gain: {type: f32, value: 2.0}
"""


def test_coefficients_travel_with_the_release(lab: SmallLab) -> None:
    (lab.directory / "gain.yaml").write_text(COEFFICIENTS)
    (lab.directory / "other.yaml").write_text(COEFFICIENTS.replace("2.0", "3.0"))
    add = ("release", "add", "drift.bin", "--publish", "--coefficients")
    lab.run(*add, "keys.yaml").expect(3, "cryofw.keys/v1")
    lab.run(*add, "gain.yaml").expect(0)

    made = json.loads(lab.run("plan", "--release", "1.2.0", "--json").expect(0).out)
    assert made["coefficients_digest"]
    assert made["devices"]["rig-a"]["coefficients"]
    same = lab.run("plan", "--release", "1.2.0", "--coefficients", "gain.yaml", "--json").expect(0)
    assert json.loads(same.out)["coefficients_digest"] == made["coefficients_digest"]
    lab.run("plan", "--release", "1.2.0", "--coefficients", "other.yaml").expect(
        5, "brings coefficients of its own"
    )


def test_a_document_of_the_repository_reaches_labs(lab: SmallLab) -> None:
    (lab.directory / "Policy.yaml").write_text("roles: {}\n")
    lab.run("release", "document", "Policy.yaml").expect(2, "cannot be the name of a document")
    lab.run("release", "document", "Policy.yaml", "--as", "x.bin").expect(2, "cannot be the name")
    ran = lab.run("release", "document", "Policy.yaml", "--as", "policy.yaml", "--publish")
    ran.expect(0, "published", "policy.yaml")

    client = ReleaseClient(
        lab.state,
        str(lab.directory / "releases"),
        load_pinned_root(FileStorage(lab.state)),
        datetime.now(UTC),
    )

    assert client.read_document("policy.yaml") == b"roles: {}\n"
    lab.run("release", "bundle", "lab.zip").expect(0)
    lab.run("release", "list").expect(0, "latest")


def test_a_damaged_repository_makes_no_bundle(lab: SmallLab) -> None:
    (image,) = (lab.directory / "releases/targets/cc40").glob("*.1.1.0.bin")
    image.write_bytes(image.read_bytes()[:-1])
    lab.run("release", "bundle", "lab.zip").expect(4, "cc40/1.1.0.bin")
    image.unlink()
    lab.run("release", "bundle", "lab.zip").expect(3, "does not exist")
    (lab.directory / "releases/metadata/timestamp.json").write_text("{")
    for command in ("list", "status", "publish", "refresh"):
        ran = lab.run("release", command)
        assert ran.exit_code in (4, 5), ran.err
        assert "malformed" in ran.err
    assert not (lab.directory / "lab.zip").exists()


def test_a_rollout_that_dies_at_its_first_record_still_says_where_its_image_came_from(
    lab: SmallLab,
) -> None:
    """Every prefix of the journal is what a process that was killed there left behind."""
    republish(lab, datetime.now(UTC) - timedelta(days=70), "drift")
    glass = ("--accept-expired", "timestamp", "--why", "the server burnt")
    first = lab.copy_to(lab.directory.parent / "first")
    first.run("deploy", "--release", "1.1.0", *glass, *RIG).expect(0)
    kinds = [record["kind"] for record in first.records()[:4]]
    assert kinds == ["rollout-started", "release-verified", "expiry-forgiven", "stage-started"]

    plan = lab.directory / "plan.json"
    lab.run("plan", "--release", "1.1.0", *glass, "-o", "plan.json").expect(0)
    made = parse_plan(plan.read_bytes())
    home = Home(lab.state)
    home.save_plan(made)
    release = made.release
    started = RolloutStarted(made.digest, release.hash, release.version, "test-rig", "anna@lab")
    home.record(made, started, "anna@lab")

    lab.run("resume", "--stage", "test-rig").expect(0, "gate passed")

    told = [record["kind"] for record in lab.records()]
    assert told.count("release-verified") == told.count("expiry-forgiven") == 1
    assert told.index("expiry-forgiven") < told.index("stage-started")
    lab.run("audit", "verify").expect(0)
