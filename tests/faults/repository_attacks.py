"""How a release repository is attacked: each function prepares one attack on a lab that uses it.

It returns the command line that an unsuspecting person then runs. Where a key signs what it
should not, it was stolen, or its holder signed without reading.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryofw.release import (
    FirstKeys,
    publish,
    release_again,
    revoke_release,
    rotate,
    stage_first,
)
from cryofw.release.catalogue import Announcement
from tests.faults.attacked_lab import LONG_AGO

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.attacked_lab import AttackedLab, Edit

    Command = tuple[str, ...]


def root(edit: Edit, lab: AttackedLab, *keys: str) -> Command:
    lab.forge_root(edit, keys or ("anna", "bart"))
    return lab.deploy_latest


# --- keys and thresholds --------------------------------------------------------------------


def threshold_zero(lab: AttackedLab) -> Command:
    return root(lambda r: r["roles"]["timestamp"].update(threshold=0), lab)


def delegation_threshold_zero(lab: AttackedLab) -> Command:
    lab.forge("targets", lambda t: t["delegations"]["roles"][0].update(threshold=0), "products")
    return lab.deploy_latest


def key_listed_twice(lab: AttackedLab) -> Command:
    return root(lambda r: r["roles"]["root"]["keyids"].append(r["roles"]["root"]["keyids"][0]), lab)


def key_under_two_ids(lab: AttackedLab) -> Command:
    def edit(signed: dict[str, dict[str, dict[str, list[str]]]]) -> None:
        keyids = signed["roles"]["root"]["keyids"]
        signed["keys"]["ab" * 32] = signed["keys"][keyids[0]]
        keyids.append("ab" * 32)

    return root(edit, lab)


def root_of_one_person(lab: AttackedLab) -> Command:
    return root(lambda r: r["roles"]["root"].update(threshold=1), lab)


def one_signature_twice(lab: AttackedLab) -> Command:
    return root(lambda _root: None, lab, "anna", "anna")


def root_signed_by_one(lab: AttackedLab) -> Command:
    return root(lambda _root: None, lab, "anna")


def root_signed_by_strangers(lab: AttackedLab) -> Command:
    return root(lambda _root: None, lab, "dora", "cc41")


def root_skips_a_version(lab: AttackedLab) -> Command:
    return root(lambda r: r.update(version=3), lab)


def no_signature(lab: AttackedLab) -> Command:
    lab.forge_timestamp(lambda _stamp: None, ())
    return lab.deploy_latest


def product_signed_by_another_product(lab: AttackedLab) -> Command:
    lab.forge("cc40", lambda _targets: None, "cc41")
    return lab.deploy_latest


def product_signed_by_the_server(lab: AttackedLab) -> Command:
    lab.forge("cc40", lambda _targets: None, "server")
    return lab.deploy_latest


def key_without_its_role(lab: AttackedLab) -> Command:
    manager = lab.manager
    rotate(manager.repository(), "online", [manager.pool().key("server-2")], ["server"], None)
    manager.publish()
    lab.forge_timestamp(lambda _stamp: None, ("server",))
    return lab.deploy_latest


# --- the root of trust ----------------------------------------------------------------------


def nobody_is_trusted(lab: AttackedLab) -> Command:
    shutil.rmtree(lab.lab.state / "releases")
    return lab.deploy_latest


def another_repository(lab: AttackedLab) -> Command:
    """Whole and sound, with the same names, and not the one that was trusted."""
    shutil.rmtree(lab.repository)
    manager = lab.manager
    pool = manager.pool()
    keys = FirstKeys(
        [pool.key("carol"), pool.key("dora")],
        2,
        pool.key("products-2"),
        pool.key("server-2"),
        {"cc40": pool.key("cc40-2")},
    )
    repository = manager.repository()
    stage_first(repository, keys, {})
    publish(repository, pool)
    lab.release("good")
    return lab.deploy_latest


def _foreign_root(lab: AttackedLab) -> Path:
    kept = lab.directory / "kept"
    shutil.copytree(lab.lab.state / "releases", kept)
    another_repository(lab)
    return lab.repository / "metadata" / "1.root.json"


def trust_replaced_in_silence(lab: AttackedLab) -> Command:
    return ("release", "trust", str(_foreign_root(lab)), "--yes")


def fingerprint_of_another_file(lab: AttackedLab) -> Command:
    return ("release", "trust", str(_foreign_root(lab)), "--fingerprint", "ab" * 32)


def trust_in_one_person(lab: AttackedLab) -> Command:
    root_of_one_person(lab)
    return ("release", "trust", str(lab.repository / "metadata/2.root.json"), "--yes", "--force")


def trust_in_an_unsigned_root(lab: AttackedLab) -> Command:
    path = lab.repository / "metadata" / "1.root.json"
    unsigned = json.loads(path.read_bytes()) | {"signatures": []}
    path.write_text(json.dumps(unsigned))
    return ("release", "trust", str(path), "--yes", "--force")


# --- time -----------------------------------------------------------------------------------


def _expired(lab: AttackedLab) -> None:
    manager = lab.manager
    manager.now = LONG_AGO
    manager.add("1.9.0")
    manager.publish()


def expired(lab: AttackedLab) -> Command:
    lab.forge_timestamp(lambda stamp: stamp.update(expires="2020-01-01T00:00:00Z"))
    return lab.deploy_latest


def expired_root(lab: AttackedLab) -> Command:
    return root(lambda r: r.update(expires="2020-01-01T00:00:00Z"), lab)


def expired_product(lab: AttackedLab) -> Command:
    lab.forge("cc40", lambda t: t.update(expires="2020-01-01T00:00:00Z"), "cc40")
    return lab.deploy_latest


def expiry_moved_by_hand(lab: AttackedLab) -> Command:
    """Frozen for ever: the old file, with another date in it."""
    path = lab.repository / "metadata" / "timestamp.json"
    changed = json.loads(path.read_bytes())
    changed["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_text(json.dumps(changed))
    return lab.deploy_latest


def break_glass_for_another_role(lab: AttackedLab) -> Command:
    _expired(lab)
    return (*lab.deploy_latest, "--accept-expired", "timestamp", "--why", "the server is down")


def break_glass_for_a_signature(lab: AttackedLab) -> Command:
    lab.forge_timestamp(lambda stamp: stamp.update(expires="2020-01-01T00:00:00Z"), ("dora",))
    return (*lab.deploy_latest, "--accept-expired", "timestamp", "--why", "the server is down")


def break_glass_for_a_rollback(lab: AttackedLab) -> Command:
    rolled_back(lab)
    return (*lab.deploy_latest, "--accept-expired", "timestamp", "--why", "the server is down")


def plan_that_outlived_its_release(lab: AttackedLab) -> Command:
    path = lab.lab.directory / "plan.json"
    lab.lab.run("plan", *lab.latest, "-o", str(path)).expect(0)
    plan = json.loads(path.read_bytes())
    plan["origin"]["expires"] = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    path.write_bytes(json.dumps(plan, sort_keys=True, indent=1).encode() + b"\n")
    return ("deploy", "--plan", str(path), "--yes")


# --- versions -------------------------------------------------------------------------------


def rolled_back(lab: AttackedLab) -> Command:
    """The lab sees the newest; then a whole older copy is offered."""
    old = lab.directory / "old"
    shutil.copytree(lab.repository, old)
    lab.release("drift")
    lab.lab.run("plan", *lab.latest).expect(0)
    shutil.rmtree(lab.repository)
    old.rename(lab.repository)
    return lab.deploy_latest


def snapshot_rolled_back(lab: AttackedLab) -> Command:
    old = lab.load("timestamp.json")["signed"]["meta"]["snapshot.json"]
    lab.release("drift")
    lab.lab.run("plan", *lab.latest).expect(0)
    lab.forge_timestamp(lambda stamp: stamp["meta"].update({"snapshot.json": old}))
    return lab.deploy_latest


def product_rolled_back(lab: AttackedLab) -> Command:
    """The server's key is stolen; it hides that the latest release was revoked."""
    before = lab.load(f"{lab.latest_version('snapshot')}.snapshot.json")["signed"]["meta"]
    revoked(lab)
    lab.lab.run("plan", *lab.latest).expect(0)  # the latest but one
    lab.forge_snapshot(lambda meta: meta.update({"cc40.json": before["cc40.json"]}))
    return lab.deploy_latest


def product_left_out(lab: AttackedLab) -> Command:
    lab.forge_snapshot(lambda meta: meta.pop("cc40.json"))
    return lab.deploy_latest


def mixed_and_matched(lab: AttackedLab) -> Command:
    """An older, rightly signed file under the name of the newer one."""
    newest = lab.latest_version("cc40")
    metadata = lab.repository / "metadata"
    shutil.copyfile(metadata / f"{newest - 1}.cc40.json", metadata / f"{newest}.cc40.json")
    shutil.rmtree(lab.lab.state / "releases" / "metadata")
    return lab.deploy_latest


def another_role_in_its_place(lab: AttackedLab) -> Command:
    metadata = lab.repository / "metadata"
    newest = lab.latest_version("snapshot")
    shutil.copyfile(metadata / f"{newest}.snapshot.json", metadata / "timestamp.json")
    return lab.deploy_latest


def bundle_from_before_a_revocation(lab: AttackedLab) -> Command:
    bundle = lab.directory / "old.zip"
    lab.lab.run("release", "bundle", str(bundle), "--repo", str(lab.repository)).expect(0)
    revoked(lab)
    lab.lab.run("plan", *lab.latest).expect(0)
    return ("deploy", "--repo", str(bundle), "--release", "1.1.0", "--yes")


# --- names ----------------------------------------------------------------------------------


def role_name_that_leads_out(lab: AttackedLab) -> Command:
    def edit(signed: dict[str, dict[str, list[dict[str, str]]]]) -> None:
        signed["delegations"]["roles"][0]["name"] = "../../../evil"

    lab.forge("targets", edit, "products")
    return lab.deploy_latest


def target_path_that_leads_out(lab: AttackedLab) -> Command:
    def edit(signed: dict[str, dict[str, object]]) -> None:
        signed["targets"]["cc40/../../../evil.bin"] = signed["targets"].pop("cc40/1.1.0.bin")

    lab.forge("cc40", edit, "cc40")
    return lab.deploy_latest


# --- files ----------------------------------------------------------------------------------


def image_swapped_on_the_server(lab: AttackedLab) -> Command:
    lab.edit_file(lab.target_file("1.1.0"), lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    return lab.deploy_latest


def image_swapped_for_another_release(lab: AttackedLab) -> Command:
    shutil.copyfile(lab.target_file("1.0.0"), lab.target_file("1.1.0"))
    return lab.deploy_latest


def image_cut_short(lab: AttackedLab) -> Command:
    lab.edit_file(lab.target_file("1.1.0"), lambda data: data[:-100])
    return lab.deploy_latest


def image_without_end(lab: AttackedLab) -> Command:
    lab.edit_file(lab.target_file("1.1.0"), lambda data: data + bytes(1 << 20))
    return lab.deploy_latest


def image_withheld(lab: AttackedLab) -> Command:
    lab.target_file("1.1.0").unlink()
    return lab.deploy_latest


def image_said_to_be_huge(lab: AttackedLab) -> Command:
    lab.forge("cc40", lambda t: t["targets"]["cc40/1.1.0.bin"].update(length=1 << 40), "cc40")
    return lab.deploy_latest


def image_is_a_pipe(lab: AttackedLab) -> Command:
    path = lab.target_file("1.1.0")
    path.unlink()
    os.mkfifo(path)
    return lab.deploy_latest


def metadata_without_end(lab: AttackedLab) -> Command:
    lab.edit_file(lab.repository / "metadata/timestamp.json", lambda data: data + b" " * (1 << 20))
    return lab.deploy_latest


def metadata_nested_without_end(lab: AttackedLab) -> Command:
    path = lab.repository / "metadata/timestamp.json"
    path.write_bytes(b'{"signed":' + b"[" * 8000 + b"]" * 8000)
    return lab.deploy_latest


def swapped_after_the_check(lab: AttackedLab) -> Command:
    """Between plan and deploy, in the lab's own store."""
    path = lab.lab.directory / "plan.json"
    lab.lab.run("plan", *lab.latest, "-o", str(path)).expect(0)
    stored = lab.lab.state / "images" / f"{lab.lab.hash('good')}.bin"
    shutil.copyfile(lab.lab.directory / "drift.bin", stored)
    return ("deploy", "--plan", str(path), "--yes")


def bundle_with_a_flipped_byte(lab: AttackedLab) -> Command:
    bundle = lab.directory / "bundle.zip"
    lab.lab.run("release", "bundle", str(bundle), "--repo", str(lab.repository)).expect(0)
    with zipfile.ZipFile(bundle) as archive:
        info = next(i for i in archive.infolist() if i.filename.endswith("1.1.0.bin"))
    place = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    lab.edit_file(bundle, lambda d: d[:place] + bytes([d[place] ^ 1]) + d[place + 1 :])
    return ("deploy", "--repo", str(bundle), "--release", "latest", "--yes")


def bundle_with_another_image(lab: AttackedLab) -> Command:
    """Packed anew, so that zip's own checksums are right."""
    image_swapped_on_the_server(lab)
    bundle = lab.directory / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for path in lab.repository.rglob("*"):
            if path.is_file():
                archive.write(path, path.relative_to(lab.repository))
    return ("deploy", "--repo", str(bundle), "--release", "latest", "--yes")


# --- what a release says --------------------------------------------------------------------


def revoked(lab: AttackedLab) -> Command:
    manager = lab.manager
    revoke_release(manager.repository(), "cc40", "1.1.0", "rita@lab", "shifts the readout")
    manager.publish()
    return ("deploy", "--repo", str(lab.repository), "--release", "1.1.0", "--yes")


def revoked_and_given_as_a_file(lab: AttackedLab) -> Command:
    lab.lab.run(*revoked(lab)).expect(5)
    return ("deploy", "good.bin", "--yes")


def revoked_after_it_was_planned(lab: AttackedLab) -> Command:
    path = lab.lab.directory / "plan.json"
    lab.lab.run("plan", *lab.latest, "-o", str(path)).expect(0)
    lab.lab.run(*revoked(lab)).expect(5)
    return ("deploy", "--plan", str(path), "--yes")


def for_another_host(lab: AttackedLab) -> Command:
    lab.release("drift", host=">=99")
    return lab.deploy_latest


def for_another_board(lab: AttackedLab) -> Command:
    manager = lab.manager
    key = manager.pool().key("cc41")
    rotate(manager.repository(), "cc41", [key], [], None, new_product=True)
    manager.publish()
    lab.lab.run(
        "sign", "good.raw.bin", "other.bin", "--version", "1.1.0", "--board", "cc41"
    ).expect(0)
    lab.release("other")
    return ("deploy", "--repo", str(lab.repository), "--release", "cc41/latest", "--yes")


def board_nobody_releases_for(lab: AttackedLab) -> Command:
    return ("deploy", "--repo", str(lab.repository), "--release", "cc99/1.0.0", "--yes")


def released_by_another_board(lab: AttackedLab) -> Command:
    """The key of cc41 signs a release for cc40."""
    manager = lab.manager
    key = manager.pool().key("cc41")
    rotate(manager.repository(), "cc41", [key], [], None, new_product=True)
    manager.publish()
    newest = lab.latest_version("cc40")
    target = lab.load(f"{newest}.cc40.json")["signed"]["targets"]["cc40/1.1.0.bin"]
    target["custom"].update(version="9.9.9", number=99)
    lab.forge("cc41", lambda t: t["targets"].update({"cc40/9.9.9.bin": target}), "cc41")
    return ("deploy", "--repo", str(lab.repository), "--release", "cc41/latest", "--yes")


def bound_to_another_image(lab: AttackedLab) -> Command:
    def edit(signed: dict[str, dict[str, dict[str, object]]]) -> None:
        old, new = (signed["targets"][f"cc40/{v}.bin"] for v in ("1.0.0", "1.1.0"))
        new.update(length=old["length"], hashes=old["hashes"])

    lab.forge("cc40", edit, "cc40")
    old = lab.target_file("1.0.0")
    shutil.copyfile(old, old.with_name(old.name.replace("1.0.0", "1.1.0")))
    return lab.deploy_latest


def signed_by_no_image_key(lab: AttackedLab) -> Command:
    """The release key alone makes no firmware."""
    data = lab.sign_elsewhere("good")
    digest = hashlib.sha256(data).hexdigest()
    (lab.repository / "targets/cc40" / f"{digest}.1.1.0.bin").write_bytes(data)
    changed = {"length": len(data), "hashes": {"sha256": digest}}
    lab.forge("cc40", lambda t: t["targets"]["cc40/1.1.0.bin"].update(changed), "cc40")
    return lab.deploy_latest


def record_of_a_negative_number(lab: AttackedLab) -> Command:
    lab.forge_record("1.1.0", lambda custom: custom.update(number=-1))
    return lab.deploy_latest


def record_missing(lab: AttackedLab) -> Command:
    lab.forge("cc40", lambda t: t["targets"]["cc40/1.1.0.bin"].pop("custom"), "cc40")
    return lab.deploy_latest


def record_of_another_version(lab: AttackedLab) -> Command:
    lab.forge_record("1.1.0", lambda custom: custom.update(version="1.0.0"))
    return lab.deploy_latest


def record_of_the_future(lab: AttackedLab) -> Command:
    lab.forge_record("1.1.0", lambda custom: custom.update(schema="cryofw.release/v2"))
    return ("deploy", "--repo", str(lab.repository), "--release", "1.1.0", "--yes")


def two_releases_with_one_number(lab: AttackedLab) -> Command:
    lab.forge_record("1.1.0", lambda custom: custom.update(number=1))
    return lab.deploy_latest


def older_release(lab: AttackedLab) -> Command:
    lab.lab.sign("good", version="0.9.0")
    lab.release("good")
    return lab.deploy_latest


def rollback_below_the_counter(lab: AttackedLab) -> Command:
    """The devices' counter is 5; the release that is rolled back to has none."""
    lab.lab.sign("factory", "--security-counter", "5", version="2.0.0")
    shutil.rmtree(lab.lab.state / "sim")
    lab.lab.run("sim", "create", "--factory", "factory.bin").expect(0)
    lab.release("factory")
    manager = lab.manager
    said = Announcement("rita@lab", "2.0.0 drifts")
    release_again(manager.repository(), "cc40", "1.1.0", said)
    manager.publish()
    return lab.deploy_latest


# --- the publisher's own desk ---------------------------------------------------------------


def version_released_twice(lab: AttackedLab) -> Command:
    """One version is one image for ever."""
    lab.lab.sign("drift", version="1.1.0")
    keyring = str(lab.lab.directory / "keys.yaml")
    return ("release", "add", "drift.bin", "--repo", str(lab.repository), "--keyring", keyring)


def key_of_another_purpose(lab: AttackedLab) -> Command:
    repo = str(lab.repository)
    keyring = str(lab.directory / "keys" / "keys.yaml")
    return (
        "release", "rotate", "cc40", "--add", "firmware", "--repo", repo, "--keyring", keyring
    )  # fmt: skip


def rotation_without_the_root_keys(lab: AttackedLab) -> Command:
    manager = lab.manager
    rotate(manager.repository(), "online", [manager.pool().key("server-2")], ["server"], None)
    return (
        "release", "publish", "--repo", str(lab.repository),
        "--keyring", str(lab.directory / "keys" / "keys.yaml"),
        "--key", "anna", "--key", "server-2",
    )  # fmt: skip


def plain_http(_lab: AttackedLab) -> Command:
    return ("deploy", "--repo", "http://releases.example/cryofw", "--release", "latest", "--yes")
