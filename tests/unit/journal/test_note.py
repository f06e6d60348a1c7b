"""Signed notes against the examples of C2SP and of Go's note package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from cryofw.errors import BadInput
from cryofw.image import Algorithm
from cryofw.journal import (
    NoteInvalid,
    SignatureType,
    SignedNote,
    VerifierKeyInvalid,
    cosign,
    parse_verifier_key,
    sign_note,
    verifier_key,
)
from cryofw.journal.note import key_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.image import PublicKey

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

# (verifier key, note): C2SP signed-note; golang.org/x/mod/sumdb/note.
C2SP = """\
This is an example message.

— example.com/foo \
Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
GO = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann \
x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
EXAMPLES = [
    ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", C2SP),
    ("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", GO),
]
TEXT = "cryofw/journal/8c2f\n200\nabc\n"


class Signer:
    """A `NoteSigner` of a key pair."""

    def __init__(self, pair: tuple[PublicKey, Callable[[bytes], bytes]]) -> None:
        self.public_key, self._sign = pair

    def sign(self, message: bytes) -> bytes:
        return self._sign(message)


@pytest.fixture
def ed25519(image_keys: Keys) -> Signer:
    return Signer(image_keys[Algorithm.ED25519])


@pytest.mark.parametrize(("key", "text"), EXAMPLES)
def test_published_notes_verify(key: str, text: str) -> None:
    name, public_key = parse_verifier_key(key)
    note = SignedNote.parse(text.encode())
    assert note.signed_by([public_key]) == [public_key]
    assert note.encode() == text.encode()
    assert verifier_key(name, public_key) == key


@pytest.mark.parametrize(("key", "text"), EXAMPLES)
def test_every_flipped_bit_of_a_published_note_is_found(key: str, text: str) -> None:
    _, public_key = parse_verifier_key(key)
    data = text.encode()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(NoteInvalid):
            assert SignedNote.parse(bytes(changed)).signed_by([public_key]) == []


@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, Algorithm.ECDSA_P256])
def test_own_notes_verify_under_any_name(image_keys: Keys, algorithm: Algorithm) -> None:
    signer = Signer(image_keys[algorithm])
    for name in ("log", "example.com/other"):
        note = SignedNote.parse(sign_note(TEXT, name, signer).encode())
        assert (note.text, note.signed_by([signer.public_key])) == (TEXT, [signer.public_key])
        other_name, other = parse_verifier_key(verifier_key(name, signer.public_key))
        assert (other_name, other.encoded) == (name, signer.public_key.encoded)


def test_key_that_was_not_asked_about_is_passed_over(image_keys: Keys, ed25519: Signer) -> None:
    note = sign_note(TEXT, "log", ed25519)
    assert note.signed_by([image_keys[Algorithm.ECDSA_P256][0]]) == []
    assert note.signed_by([]) == []


def test_forged_line_is_told_also_beside_a_good_one(ed25519: Signer) -> None:
    good, other = sign_note(TEXT, "log", ed25519), sign_note(TEXT + "x\n", "log", ed25519)
    both = good.with_signatures(other.signatures)
    with pytest.raises(NoteInvalid, match="bears the id of key"):
        both.signed_by([ed25519.public_key])


def test_rsa_signs_no_notes(image_keys: Keys) -> None:
    with pytest.raises(BadInput, match="rsa-2048 signs no journal"):
        sign_note(TEXT, "log", Signer(image_keys[Algorithm.RSA_2048]))


def test_cosignature_is_the_one_of_c2sp(ed25519: Signer) -> None:
    line = cosign(TEXT, "witness.example/w1", ed25519, 1_679_315_147)
    assert line.body[:8] == (1_679_315_147).to_bytes(8, "big")
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    ed25519.public_key.verify(line.body[8:], message)
    identity = key_id("witness.example/w1", SignatureType.COSIGNATURE, ed25519.public_key)
    assert line.key_id == identity != key_id("w", SignatureType.ED25519, ed25519.public_key)
    note = sign_note(TEXT, "log", ed25519).with_signatures([line])
    again = SignedNote.parse(note.encode())
    assert again.cosigned_by([ed25519.public_key]) == [(ed25519.public_key, 1_679_315_147)]


def test_witness_counts_once_and_with_its_latest_time(ed25519: Signer) -> None:
    lines = [cosign(TEXT, name, ed25519, at) for name, at in (("a", 5), ("b", 7), ("a", 6))]
    note = sign_note(TEXT, "log", ed25519).with_signatures(lines)
    assert note.cosigned_by([ed25519.public_key]) == [(ed25519.public_key, 7)]


def test_cosignature_with_another_time_is_found(ed25519: Signer) -> None:
    line = cosign(TEXT, "w", ed25519, 5)
    moved = type(line)("w", line.key_id, (6).to_bytes(8, "big") + line.body[8:])
    note = sign_note(TEXT, "log", ed25519).with_signatures([moved])
    with pytest.raises(NoteInvalid):
        note.cosigned_by([ed25519.public_key])


def test_p256_cosigns_nothing(image_keys: Keys) -> None:
    with pytest.raises(BadInput, match="cosigns nothing"):
        cosign(TEXT, "w", Signer(image_keys[Algorithm.ECDSA_P256]), 5)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"text\n", "no signature lines"),
        (b"text\n\n", "no signature line"),
        (b"text\n\n\xe2\x80\x94 a AAAAAAAA", "no signature lines"),
        ("text\n\n— a b AAAAAAAA\n".encode(), "no signature line"),
        ("text\n\n— a+b AAAAAAAA\n".encode(), "no signature line"),
        ("text\n\n— a AAAAAA==\n".encode(), "no signature line"),
        ("text\n\n— a AAAAAAB=\n".encode(), "no signature line"),
        (b"text\n\n- a AAAAAAAA\n", "no signature line"),
        ("te\txt\n\n— a AAAAAAAA\n".encode(), "control characters"),
        (b"\xff\n\n", "not UTF-8"),
        (b"a" * (1 << 21), "bytes"),
        (("text\n\n" + "— a AAAAAAAA\n" * 101).encode(), "too many"),
    ],
)
def test_what_is_no_note_is_told(data: bytes, why: str) -> None:
    with pytest.raises(NoteInvalid, match=why) as caught:
        SignedNote.parse(data)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+CekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3Q==",
    ],
)
def test_what_is_no_verifier_key_is_told(text: str) -> None:
    with pytest.raises(VerifierKeyInvalid) as caught:
        parse_verifier_key(text)
    assert caught.value.exit_code == 3
