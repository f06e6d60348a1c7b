from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cryofw.image import Algorithm
from cryofw.keys import (
    KeyRefused,
    KeyringError,
    Purpose,
    generate_key,
    load_keyring,
    no_passphrase,
    parse_keyring,
)

WriteKeyring = Callable[[str], Path]
ROOT = Path(__file__).parents[3]
A = "a: {uri: 'file:keys/a.pem', purpose: image, algorithm: ecdsa-p256}"
B = "b: {uri: 'file:keys/b.pem', purpose: journal, algorithm: ed25519}"


def findings(path: Path) -> list[tuple[int, int, str]]:
    with pytest.raises(KeyringError) as caught:
        load_keyring(path)
    return [(each.line, each.column, each.message) for each in caught.value.findings]


def test_the_example_at_the_top_level_is_a_valid_keyring(tmp_path: Path) -> None:
    for name, algorithm in (
        ("firmware", Algorithm.ECDSA_P256),
        ("release", Algorithm.ED25519),
        ("journal", Algorithm.ED25519),
    ):
        generate_key(tmp_path / "keys" / f"{name}.pem", algorithm, None)
    shutil.copy(ROOT / "keys.example", tmp_path / "keys.yaml")

    ring = load_keyring(tmp_path / "keys.yaml")

    assert [(e.name, e.purpose, e.algorithm) for e in ring.entries.values()] == [
        ("firmware", Purpose.IMAGE, Algorithm.ECDSA_P256),
        ("release", Purpose.RELEASE, Algorithm.ED25519),
        ("journal", Purpose.JOURNAL, Algorithm.ED25519),
    ]


def test_a_signer_signs_what_its_public_half_verifies(write_keyring: WriteKeyring) -> None:
    ring = load_keyring(write_keyring(f"  {A}\n  {B}\n"))

    signer = ring.signer("a", Purpose.IMAGE, no_passphrase)

    assert (signer.name, signer.purpose) == ("a", Purpose.IMAGE)
    ring.entry("a").public_key.verify(signer.sign(b"firmware"), b"firmware")
    assert ring.public_keys(Purpose.IMAGE) == [signer.public_key]
    assert ring.public_keys(Purpose.RELEASE) == []


def test_a_key_signs_for_its_purpose_only(write_keyring: WriteKeyring) -> None:
    ring = load_keyring(write_keyring(f"  {A}\n  {B}\n"))

    with pytest.raises(KeyRefused, match="'b' is not for purpose image"):
        ring.signer("b", Purpose.IMAGE, no_passphrase)
    with pytest.raises(KeyRefused, match="purpose release"):
        ring.public_key("a", Purpose.RELEASE)


def test_the_same_key_under_two_purposes_is_refused(write_keyring: WriteKeyring) -> None:
    again = "again: {uri: 'file:keys/a.pem', purpose: release, algorithm: ecdsa-p256}"

    (found,) = findings(write_keyring(f"  {A}\n  {B}\n  {again}\n"))

    assert found[:2] == (5, 3)
    assert "the same key serves as 'a' for purpose image" in found[2]


def test_a_copied_key_file_counts_as_the_same_key(
    write_keyring: WriteKeyring, ring_directory: Path
) -> None:
    for suffix in (".pem", ".pub.pem"):
        shutil.copy(ring_directory / f"keys/a{suffix}", ring_directory / f"keys/copy{suffix}")
    copy = "copy: {uri: 'file:keys/copy.pem', purpose: approval, algorithm: ecdsa-p256}"

    (found,) = findings(write_keyring(f"  {A}\n  {copy}\n"))

    assert "a key serves one purpose" in found[2]


def test_two_names_for_one_key_and_one_purpose_are_fine(write_keyring: WriteKeyring) -> None:
    ring = load_keyring(write_keyring(f"  {A}\n  {A.replace('a:', 'alias:', 1)}\n"))

    assert list(ring.entries) == ["a", "alias"]


def test_all_mistakes_are_reported_at_once_with_their_lines(write_keyring: WriteKeyring) -> None:
    path = write_keyring(
        "  a: {uri: 'file:keys/a.pem', purpose: image, algorithm: ecdsa-256}\n"
        "  b: {uri: 'file:keys/b.pem', purpos: journal, algorithm: ed25519}\n"
        "  b: {uri: 'file:keys/b.pem', purpose: journal, algorithm: ed25519}\n"
        "  c: {uri: 'ftp:keys/c.pem', purpose: release, algorithm: ed25519}\n"
        "  d: {uri: 'file:keys/d.pem', purpose: release, algorithm: ed25519}\n"
        "  e: {uri: 'file:keys/a.pem', purpose: image, algorithm: ed25519}\n"
        "  f: [1, 2]\n"
        "  g: {uri: no, purpose: 1, algorithm: ed25519}\n"
        "  h: {uri: 'hsm:01', purpose: image, algorithm: ecdsa-p256}\n"
    )

    found = findings(path)

    expected = [
        (3, "unknown algorithm 'ecdsa-256'; it is one of ecdsa-p256, ed25519"),
        (4, "key 'b' has no field 'purpos'"),
        (4, "key 'b' lacks purpose"),
        (5, "'b' stands twice, first in line 4"),
        (6, "unknown scheme 'ftp'"),
        (7, "keys/d.pub.pem is missing; `openssl pkey"),
        (8, "its algorithm is ecdsa-p256, not ed25519"),
        (9, "key 'f' must be a mapping"),
        (10, "uri must be text"),
        (10, "purpose must be text"),
        (11, "a hsm: key needs `public:`"),
    ]
    assert [line for line, _, _ in found] == [line for line, _ in expected]
    for (_, _, message), (_, part) in zip(found, expected, strict=True):
        assert part in message


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (b"", 1, "the file is empty"),
        (b"- a\n", 1, "a keyring must be a mapping"),
        (b"schema: cryofw.keys/v2\nkeys: {}\n", 1, "schema is 'cryofw.keys/v2'"),
        (b"schema: cryofw.keys/v1\n", 1, "lacks keys"),
        (b"schema: cryofw.keys/v1\nkeys: {}\nother: 1\n", 3, "no field 'other'"),
        (b"schema: cryofw.keys/v1\nkeys:\n\ta: {}\n", 3, "not YAML"),
        (b"schema: cryofw.keys/v1\nkeys: [\n", 3, "not YAML"),
        (b"schema: cryofw.keys/v1\n---\nkeys: {}\n", 2, "not YAML"),
        (b"schema: cryofw.keys/v1\nkeys: {a: *b}\n", 2, "not YAML: found undefined alias"),
        (b"schema: cryofw.keys/v1\nkeys: {\xff: 1}\n", 2, "not UTF-8"),
        (b"schema: cryofw.keys/v1\nkeys: {? [a] : 1}\n", 2, "must be plain text"),
        (b"schema: cryofw.keys/v1\nkeys: {../a: {}}\n", 2, "is no name"),
        (b'schema: "cryofw\\0"\nkeys: {}\n', 1, "has characters that no name"),
        (b"[" * 5000, 1, "nested too deeply"),
        (b"a" * (1 << 20) + b"b", 1, "larger than"),
    ],
)
def test_a_text_that_is_no_keyring_is_told_with_its_line(text: bytes, line: int, part: str) -> None:
    with pytest.raises(KeyringError) as caught:
        parse_keyring(text, Path("keys.yaml"))

    assert caught.value.findings[0].line == line
    assert part in caught.value.findings[0].message
    assert caught.value.exit_code == 3


def test_a_private_key_in_the_place_of_its_public_half_is_named(
    write_keyring: WriteKeyring,
) -> None:
    entry = "a: {uri: 'file:keys/a.pem', purpose: image, algorithm: ecdsa-p256, public: keys/a.pem}"

    (found,) = findings(write_keyring(f"  {entry}\n"))

    assert "holds a private key where a public one is expected" in found[2]


def test_halves_that_do_not_belong_together_do_not_sign(
    write_keyring: WriteKeyring, ring_directory: Path
) -> None:
    ring = load_keyring(write_keyring(f"  {B}\n"))
    shutil.copy(ring_directory / "keys/c.pem", ring_directory / "keys/b.pem")

    with pytest.raises(KeyringError, match="do not belong together"):
        ring.signer("b", Purpose.JOURNAL, no_passphrase)


def test_the_only_key_of_a_purpose_needs_no_name(write_keyring: WriteKeyring) -> None:
    other = "other: {uri: 'file:keys/c.pem', purpose: journal, algorithm: ed25519}"
    ring = load_keyring(write_keyring(f"  {A}\n  {B}\n  {other}\n"))

    assert ring.choose(Purpose.IMAGE).name == "a"
    with pytest.raises(KeyringError, match="has 2 keys for purpose journal"):
        ring.choose(Purpose.JOURNAL)
    with pytest.raises(KeyringError, match="has 0 keys for purpose release"):
        ring.choose(Purpose.RELEASE)


def test_an_unknown_name_tells_the_known_ones(write_keyring: WriteKeyring) -> None:
    ring = load_keyring(write_keyring(f"  {A}\n  {B}\n"))

    with pytest.raises(KeyringError, match=r"no key 'z'.*: it has a, b") as caught:
        ring.entry("z")
    assert "keys list" in caught.value.hint
    with pytest.raises(KeyringError) as caught:
        ring.entry("aa")
    assert caught.value.hint == "did you mean 'a'?"


@pytest.mark.parametrize("form", ["file:{}", "file://{}"])
def test_an_absolute_path_is_taken_as_it_is(
    write_keyring: WriteKeyring, ring_directory: Path, form: str
) -> None:
    uri = form.format(ring_directory / "keys" / "b.pem")
    path = write_keyring(f"  b: {{uri: '{uri}', purpose: journal, algorithm: ed25519}}\n")

    signer = load_keyring(path).signer("b", Purpose.JOURNAL, no_passphrase)

    assert len(signer.sign(b"")) == 64


@pytest.mark.parametrize("uri", ["keys/a.pem", "file:", "FILE:a", "file://host/a.pem"])
def test_a_bad_uri_is_a_finding(write_keyring: WriteKeyring, uri: str) -> None:
    path = write_keyring(f"  a: {{uri: '{uri}', purpose: image, algorithm: ecdsa-p256}}\n")

    (found,) = findings(path)

    assert found[0] == 3
