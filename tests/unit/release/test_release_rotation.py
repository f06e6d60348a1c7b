"""Who may sign, who must, and what happens when a key is lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from cryofw.errors import Interrupted, Refused, UsageError
from cryofw.image import Algorithm
from cryofw.journal import FileStorage
from cryofw.keys import generate_key, parse_keyring
from cryofw.release import (
    ReleaseInvalid,
    RepositoryUnusable,
    SignaturesMissing,
    SignerPool,
    put_document,
    renew,
    rotate,
    sign_staged,
)
from cryofw.release.trust import METADATA
from tests.unit.release.publisher import KEYS, Publisher

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.keys import Keyring

EVERYBODY = [name for name in KEYS if name != "firmware"]


def all_but(*names: str) -> list[str]:
    return [name for name in EVERYBODY if name not in names]


@pytest.mark.parametrize(
    ("role", "new", "lost"),
    [
        ("online", "server-2", "server"),
        ("targets", "products-2", "products"),
        ("cc40", "cc40-2", "cc40"),
        ("root", "dora", "carol"),
    ],
)
def test_a_lost_key_is_not_needed_to_replace_it(
    publisher: Publisher, role: str, new: str, lost: str
) -> None:
    publisher.release("1.0.0")
    veteran = publisher.lab()
    assert veteran.versions() == ["1.0.0"]

    rotate(publisher.repository(), role, [publisher.pool().key(new)], [lost], None)
    publisher.publish(*all_but(lost))

    assert veteran.versions() == ["1.0.0"]
    publisher.add("1.1.0")
    publisher.publish(*all_but(lost))
    assert veteran.versions() == publisher.lab("new").versions() == ["1.0.0", "1.1.0"]


def test_below_the_threshold_of_root_keys_nothing_can_be_rotated(publisher: Publisher) -> None:
    rotate(publisher.repository(), "root", [publisher.pool().key("dora")], ["anna"], None)

    with pytest.raises(SignaturesMissing, match="root 2 needs 2 of anna, bart, carol") as caught:
        publisher.publish(*all_but("anna", "bart"))
    assert "signed by carol" in str(caught.value)


def test_a_key_is_added_with_one_root_and_replaced_with_two(publisher: Publisher) -> None:
    pool = publisher.pool()
    rotate(publisher.repository(), "online", [pool.key("server-2")], [], None)
    assert [r.signed.version for r in publisher.repository().staged_roots] == [2]
    publisher.publish()
    rotate(publisher.repository(), "online", [], ["server"], None)
    assert [r.signed.version for r in publisher.repository().staged_roots] == [3, 4]
    publisher.publish(*all_but("server"))

    assert publisher.lab().versions() == []


def test_a_second_thought_replaces_what_was_staged(publisher: Publisher) -> None:
    pool = publisher.pool()
    rotate(publisher.repository(), "online", [pool.key("server-2")], ["server"], None)
    rotate(publisher.repository(), "root", [pool.key("dora")], ["anna"], None)
    rotate(publisher.repository(), "online", [pool.key("server")], ["server-2"], None)

    staged = publisher.repository().staged_roots

    assert [root.signed.version for root in staged] == [2]
    publisher.publish(*all_but("server-2"))
    assert publisher.lab().versions() == []


def test_a_board_may_ask_for_two_signatures(publisher: Publisher) -> None:
    key = publisher.pool().key("cc40-2")
    rotate(publisher.repository(), "cc40", [key], [], 2)
    publisher.publish()
    publisher.add("1.0.0")

    with pytest.raises(SignaturesMissing, match="cc40 3 needs 2 of cc40, cc40-2; signed by cc40"):
        publisher.publish(*all_but("cc40-2"))
    assert publisher.lab().versions() == []
    shortages = sign_staged(publisher.repository(), publisher.pool("cc40-2"))

    assert shortages == []
    publisher.publish(*all_but("cc40", "cc40-2"))
    assert publisher.lab().versions() == ["1.0.0"]


def test_a_change_after_a_signature_asks_for_it_again(publisher: Publisher) -> None:
    publisher.add("1.0.0")
    assert sign_staged(publisher.repository(), publisher.pool()) == []
    publisher.add("1.1.0")

    with pytest.raises(SignaturesMissing, match="cc40 2 needs 1 of cc40; signed by nobody"):
        publisher.publish(*all_but("cc40"))


def test_what_was_staged_elsewhere_and_overtaken_is_told(publisher: Publisher) -> None:
    publisher.add("1.0.0")
    stick = publisher.disk.entries["staged/cc40.json"]
    publisher.add("1.1.0")
    publisher.publish()
    publisher.disk.entries["staged/cc40.json"] = stick

    with pytest.raises(RepositoryUnusable, match=r"staged for cc40 was overtaken.*somebody else"):
        publisher.publish()


def test_a_renewal_changes_only_the_expiry(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    before = publisher.repository().published
    publisher.now = publisher.now.replace(month=12)
    renew(publisher.repository(), ["root", "targets", "cc40", "timestamp"])
    publisher.publish()

    after = publisher.repository().published

    for role, old in before.by_role.items():
        new = after.by_role[role].signed
        assert new.version == old.signed.version + 1
        assert (new.expires - old.signed.expires).days == 30
    assert before.products["cc40"].signed.targets == after.products["cc40"].signed.targets
    with pytest.raises(UsageError, match="no product 'cc99'"):
        renew(publisher.repository(), ["cc99"])


def test_a_root_that_no_lab_would_take_is_not_published(publisher: Publisher) -> None:
    """However it came to be staged."""
    repository = publisher.repository()
    renew(repository, ["root"])
    root = repository.staged_roots[-1].signed
    root.roles["root"].threshold = 1
    repository.stage_roots([root])

    with pytest.raises(ReleaseInvalid, match="by one person alone"):
        publisher.publish()
    assert publisher.repository().published.by_role["root"].signed.version == 1


def test_days_are_kept_in_the_root(keyring: Keyring, tmp_path: Path) -> None:
    publisher = Publisher(keyring, tmp_path)
    publisher.init(days={"timestamp": 14, "root": 100})
    publisher.release("1.0.0")

    shown = publisher.repository().published.by_role

    left = {role: (each.signed.expires - publisher.now).days for role, each in shown.items()}
    assert left == {"root": 100, "timestamp": 14, "snapshot": 90, "targets": 365, "cc40": 365}
    for days in ({"timestamp": 0}, {"cc40": 5}):
        with pytest.raises(UsageError, match="no time that metadata holds"):
            Publisher(keyring, tmp_path).init(days=days)


def test_a_repository_is_made_once_and_one_person_is_not_enough(
    keyring: Keyring, tmp_path: Path, publisher: Publisher
) -> None:
    with pytest.raises(Refused, match="is a release repository already"):
        publisher.init()
    with pytest.raises(UsageError, match="at least 2 keys"):
        Publisher(keyring, tmp_path).init(threshold=1)


def test_a_document_cannot_be_mistaken_for_a_release(publisher: Publisher) -> None:
    for name in ("cc40", "a/b.yaml", "../x.yaml", "x.bin", "X.yaml", "a.b.yaml"):
        with pytest.raises(UsageError, match="cannot be the name"):
            put_document(publisher.repository(), name, b"")
    put_document(publisher.repository(), "policy.yaml", b"one")
    publisher.publish()
    put_document(publisher.repository(), "policy.yaml", b"two")
    publisher.publish()

    assert publisher.lab().client().read_document("policy.yaml") == b"two"


def test_two_clients_of_one_host_take_turns(publisher: Publisher) -> None:
    publisher.release("1.0.0")
    lab = publisher.lab()
    seen: list[object] = []

    def look() -> None:
        try:
            seen.append(list(lab.versions()))
        except BaseException as error:  # noqa: BLE001  # whatever a thread met is what failed
            seen.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    with FileStorage(lab.state).lock(METADATA):
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(30)

    assert seen == [["1.0.0"]] * 4


def test_who_stops_typing_passphrases_is_not_asked_for_the_next(publisher: Publisher) -> None:
    asked: list[str] = []

    def stop(name: str) -> bytes | None:
        asked.append(name)
        raise Interrupted("no passphrase was entered")

    generate_key(publisher.directory / "one.pem", Algorithm.ED25519, b"secret")
    generate_key(publisher.directory / "two.pem", Algorithm.ED25519, b"secret")
    text = "schema: cryofw.keys/v1\nkeys:\n" + "".join(
        f"  {name}: {{uri: 'file:{name}.pem', purpose: release, algorithm: ed25519}}\n"
        for name in ("one", "two")
    )
    ring = parse_keyring(text.encode(), publisher.directory / "keys.yaml")
    pool = SignerPool(ring, stop)
    first, second = pool.key("one").keyid, pool.key("two").keyid

    with pytest.raises(Interrupted):
        pool.open(first)
    assert asked == ["one"]
    wrong = SignerPool(ring, lambda _name: b"wrong")
    assert wrong.open(second) is None
    assert "the passphrase is wrong" in wrong.missed["two"]
