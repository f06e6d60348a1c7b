"""What a lab accepts of a repository, beyond what TUF says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cryofw import __version__
from cryofw.errors import BadInput, Refused, UsageError, VerificationFailed
from cryofw.journal.memory_storage import MemoryDisk, MemoryStorage
from cryofw.release import (
    Announcement,
    Forgiveness,
    MetadataExpired,
    PinnedRoot,
    ReleaseInvalid,
    ReleaseRefused,
    add_release,
    admit,
    load_pinned_root,
    parse_release,
    pin_root,
    read_root,
    release_again,
    revoke_release,
    rotate,
    seen_releases,
)
from cryofw.release.trust import METADATA, RootAlreadyTrusted, require_not_revoked

if TYPE_CHECKING:
    from tests.unit.release.publisher import Publisher

AFTER_TIMESTAMP = timedelta(days=61)
AFTER_SNAPSHOT = timedelta(days=91)


def test_the_latest_release_is_the_one_released_last_not_the_highest_version(
    publisher: Publisher,
) -> None:
    publisher.release("1.0.0", "1.1.0")
    lab = publisher.lab()
    assert lab.client().choose("cc40", "latest").record.version == "1.1.0"

    again = release_again(
        publisher.repository(), "cc40", "1.0.0", Announcement("rita", "1.1.0 drifts")
    )
    publisher.publish()

    chosen = lab.client().choose("cc40", "latest").record
    assert chosen == again
    assert (chosen.version, chosen.number, chosen.rolls_back) == ("1.0.0", 3, "1.1.0")
    assert lab.client().choose("cc40", "1.1.0").record.revoked is None


def test_a_revoked_release_is_not_the_latest_and_keeps_its_reason(publisher: Publisher) -> None:
    publisher.release("1.0.0", "1.1.0")
    revoke_release(publisher.repository(), "cc40", "1.1.0", "rita@lab", "shifts the readout")
    publisher.publish()
    client = publisher.lab().client()

    assert client.choose("cc40", "latest").record.version == "1.0.0"
    with pytest.raises(ReleaseRefused, match=r"revoked: by rita@lab.*shifts the readout"):
        client.choose("cc40", "1.1.0")
    # It may be what a device runs now: the way back must be there.
    (old,) = client.with_hash({r.record.hash for r in client.releases("cc40")[1:]})
    assert client.read(old) == publisher.image("1.1.0")


def test_a_rollback_takes_back_the_release_before_it_even_if_that_was_revoked(
    publisher: Publisher,
) -> None:
    publisher.release("1.0.0", "1.1.0")
    repository = publisher.repository()
    revoke_release(repository, "cc40", "1.1.0", "rita", "drifts")

    with pytest.raises(Refused, match="is the latest release already"):
        release_again(repository, "cc40", "1.0.0", Announcement("rita", "drifts"))
    with pytest.raises(ReleaseRefused, match="was revoked"):
        release_again(repository, "cc40", "1.1.0", Announcement("rita", "no"))


def test_the_origin_says_what_was_verified(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    client = publisher.lab().client()
    record = client.choose("cc40", "latest").record

    origin = client.origin(record)

    assert origin.release == "cc40/1.0.0"
    assert origin.versions == {
        "root": 1, "timestamp": 2, "snapshot": 2, "targets": 1, "cc40": 2
    }  # fmt: skip
    assert origin.expires == "2027-01-19T21:00:00Z"
    assert origin.root == PinnedRoot(publisher.root_file).fingerprint
    assert origin.forgiven == ()
    assert origin.expiry == publisher.now + timedelta(days=60)
    with pytest.raises(BadInput, match="expires at no time"):
        _ = replace(origin, expires="2027").expiry


# --- expiry and the glass over it -----------------------------------------------------------


def test_expired_metadata_is_refused_with_every_role_that_expired(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    lab = publisher.lab()
    assert lab.client(later=AFTER_TIMESTAMP - timedelta(days=2)).products == ["cc40"]

    with pytest.raises(MetadataExpired, match="timestamp since 2027-01-19") as caught:
        _ = lab.client(later=AFTER_TIMESTAMP).products
    assert list(caught.value.expired) == ["timestamp"]
    with pytest.raises(MetadataExpired) as caught:
        _ = lab.client(later=AFTER_SNAPSHOT).products
    assert list(caught.value.expired) == ["timestamp", "snapshot"]
    assert "--accept-expired timestamp --accept-expired snapshot" in caught.value.hint


def test_break_glass_forgives_the_named_roles_and_is_remembered(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    lab = publisher.lab()

    client = lab.client("timestamp", later=AFTER_TIMESTAMP)
    origin = client.origin(client.choose("cc40", "1.0.0").record)

    assert origin.forgiven == ("timestamp",)
    assert (origin.by, origin.why) == ("anna@lab", "the server is down")
    with pytest.raises(MetadataExpired, match="snapshot since"):
        _ = lab.client("timestamp", later=AFTER_SNAPSHOT).products
    # Not asked for again, it is not forgiven again.
    with pytest.raises(MetadataExpired):
        _ = lab.client(later=AFTER_TIMESTAMP).products


def test_break_glass_that_was_not_needed_leaves_no_trace(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    client = publisher.lab().client("timestamp", "root")

    origin = client.origin(client.choose("cc40", "1.0.0").record)

    assert origin.forgiven == ()
    assert origin.by == origin.why == ""


def test_break_glass_needs_a_reason_and_a_role_that_exists(publisher: Publisher) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        Forgiveness(("timestamp",), "anna", " ")
    with pytest.raises(UsageError, match="no role 'timstamp'"):
        _ = publisher.lab().client("timstamp").products


def test_break_glass_forgives_no_signature_and_no_version(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    old = MemoryDisk(dict(publisher.disk.entries))
    publisher.release("1.1.0")
    lab = publisher.lab()
    assert lab.versions() == ["1.0.0", "1.1.0"]

    with pytest.raises(ReleaseInvalid, match="this host has seen 3"):
        _ = lab.client("timestamp", disk=old, later=AFTER_TIMESTAMP).products
    text = publisher.disk.entries["metadata/timestamp.json"]
    publisher.disk.entries["metadata/timestamp.json"] = text.replace(b"2027", b"2099")
    with pytest.raises(ReleaseInvalid, match="not signed by the keys"):
        _ = publisher.lab("other").client("timestamp", later=AFTER_TIMESTAMP).products


def test_to_look_keeps_nothing(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    lab = publisher.lab()

    roles = lab.client(later=AFTER_SNAPSHOT).look()

    assert roles["cc40"].version == 2
    assert not (lab.state / METADATA).exists()


# --- which release --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "products", "expected"),
    [
        ("2.1.0", ["cc40"], ("cc40", "2.1.0")),
        ("2.1", ["cc40"], ("cc40", "2.1.0")),
        ("latest", ["cc40"], ("cc40", "latest")),
        ("cc41/2.1.0+4", ["cc40", "cc41"], ("cc41", "2.1.0+4")),
        ("cc41", ["cc40", "cc41"], ("cc41", "latest")),
    ],
)
def test_a_release_is_named_by_board_and_version(
    text: str, products: list[str], expected: tuple[str, str]
) -> None:
    assert parse_release(text, products) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [("2.1.0", "which board's"), ("cc40/new", "names no release"), ("cc40/../x", "names no rel")],
)
def test_what_names_no_release_is_told(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_release(text, ["cc40", "cc41"])


def test_a_release_that_is_not_there_is_refused_with_those_that_are(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    with pytest.raises(ReleaseRefused, match=r"no release cc40/3\.0\.0: it has 1\.0\.0"):
        publisher.lab().client().choose("cc40", "3.0.0")
    with pytest.raises(ReleaseRefused, match="no releases for the board 'cc99'"):
        publisher.lab().client().choose("cc99", "1.0.0")


def test_the_host_software_must_lie_in_the_range(publisher: Publisher) -> None:
    publisher.add("1.0.0", host=f"=={__version__}")
    publisher.add("1.1.0", host=">=99.1, <100")
    publisher.publish()
    client = publisher.lab().client()

    assert client.choose("cc40", "1.0.0").record.number == 1
    with pytest.raises(
        ReleaseRefused, match=f"host software >=99.1, <100, this is .*{__version__}"
    ):
        client.choose("cc40", "latest")


def test_a_record_of_a_newer_cryofw_hides_no_other_release(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    publisher.add("1.1.0")
    repository = publisher.repository()
    draft = repository.draft_targets("cc40")
    draft.targets["cc40/1.1.0.bin"].unrecognized_fields["custom"]["schema"] = "cryofw.release/v9"
    repository.stage("cc40", draft)
    publisher.publish()
    client = publisher.lab().client()

    assert client.choose("cc40", "latest").record.version == "1.0.0"
    with pytest.raises(ReleaseRefused, match="another version of cryofw"):
        client.choose("cc40", "1.1.0")


# --- documents and records ------------------------------------------------------------------


def test_an_sbom_and_a_provenance_travel_with_the_release(publisher: Publisher) -> None:
    data = publisher.image("1.0.0")
    documents = {
        "sbom": b'{"bomFormat": "CycloneDX"}',
        "provenance": b'{"predicateType": "https://slsa.dev/provenance/v1"}',
    }
    said = Announcement("rita", commit="abc123", checkpoint="a note", documents=documents)
    add_release(publisher.repository(), admit(data, publisher.image_keys), data, said)
    publisher.publish()
    client = publisher.lab().client()

    record = client.choose("cc40", "1.0.0").record

    assert (record.commit, record.checkpoint) == ("abc123", "a note")
    assert record.sbom is not None
    assert record.provenance is not None
    assert client.read_document(record.sbom.path) == documents["sbom"]
    assert client.read_document(record.provenance.path) == documents["provenance"]
    with pytest.raises(ReleaseRefused, match="no file 'cc40/policy'"):
        client.read_document("cc40/policy")


def test_a_second_product_has_a_key_and_releases_of_its_own(publisher: Publisher) -> None:
    key = publisher.pool().key("cc41")
    rotate(publisher.repository(), "cc41", [key], [], None, new_product=True)
    publisher.add("1.0.0")
    publisher.add("7.0.0", board="cc41")
    publisher.publish()
    lab = publisher.lab()

    assert lab.versions("cc40") == ["1.0.0"]
    assert lab.versions("cc41") == ["7.0.0"]


# --- the pinned root ------------------------------------------------------------------------


def test_a_root_is_pinned_once_and_replaced_only_on_request(publisher: Publisher) -> None:
    storage = MemoryStorage()
    with pytest.raises(Refused, match="no release repository is trusted"):
        load_pinned_root(storage)
    pinned = PinnedRoot(publisher.root_file, "https://releases.lab")
    pin_root(storage, pinned)
    storage.write_atomic(f"{METADATA}/timestamp.json", b"{}")
    assert load_pinned_root(storage) == pinned

    pin_root(storage, pinned)
    assert storage.exists(f"{METADATA}/timestamp.json"), "the same root forgets nothing"
    with pytest.raises(RootAlreadyTrusted):
        pin_root(storage, PinnedRoot(b"another"))
    pin_root(storage, PinnedRoot(b"another"), replace=True)

    assert load_pinned_root(storage).data == b"another"
    assert not storage.list(f"{METADATA}/")


def test_a_root_file_must_be_sound_by_itself(publisher: Publisher) -> None:
    assert read_root(publisher.root_file, "root.json").version == 1
    for data, says in (
        (b"", "malformed"),
        (publisher.disk.entries["metadata/timestamp.json"], "metadata of another role"),
        (publisher.root_file.replace(b'"version":1', b'"version":7'), "0 of the 2 signatures"),
    ):
        with pytest.raises(ReleaseInvalid, match=says):
            read_root(data, "root.json")


def test_what_was_seen_revoked_stays_so_without_asking_anybody(publisher: Publisher) -> None:
    publisher.release("1.0.0", "1.1.0")
    lab = publisher.lab()
    bad = lab.client().choose("cc40", "1.1.0").record
    require_not_revoked(lab.storage, bad.hash)
    revoke_release(publisher.repository(), "cc40", "1.1.0", "rita", "drifts")
    publisher.publish()
    assert lab.versions() == ["1.0.0", "1.1.0"]

    with pytest.raises(ReleaseRefused, match="drifts"):
        require_not_revoked(lab.storage, bad.hash)
    assert [r.version for r in seen_releases(lab.storage)] == ["1.0.0", "1.1.0"]


def test_kept_metadata_that_is_damaged_is_told_and_fetched_again(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    lab = publisher.lab()
    assert lab.versions() == ["1.0.0"]
    kept = lab.state / METADATA / "cc40.json"
    kept.write_bytes(b"{}")

    with pytest.raises(VerificationFailed, match="kept metadata of cc40 is damaged"):
        seen_releases(lab.storage)
    assert lab.versions() == ["1.0.0"]
    assert [r.version for r in seen_releases(lab.storage)] == ["1.0.0"]


def test_a_record_that_cannot_be_read_stops_no_other_firmware(publisher: Publisher) -> None:
    """Whoever steals a board's key must not be able to stop files from being deployed."""
    publisher.release("1.0.0")
    publisher.add("1.1.0")
    repository = publisher.repository()
    draft = repository.draft_targets("cc40")
    draft.targets["cc40/1.1.0.bin"].unrecognized_fields["custom"] = "nonsense"
    repository.stage("cc40", draft)
    publisher.publish()
    lab = publisher.lab()

    with pytest.raises(ReleaseInvalid, match="has no record"):
        lab.versions()
    assert [r.version for r in seen_releases(lab.storage)] == ["1.0.0"]
    require_not_revoked(lab.storage, "ab" * 32)
