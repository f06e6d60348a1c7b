"""Signatures, keys and certificates of OpenSSH that are cut, bent or strange."""

from __future__ import annotations

import base64
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.errors import CryofwError
from cryofw.trust import (
    SignatureInvalid,
    SshFormatError,
    parse_certificate,
    parse_key,
    parse_key_line,
    parse_signature,
)
from tests.unit.trust.soft_key import SoftKey, certificate, mpint, option, string

KINDS = ("ed25519", "ecdsa", "sk-ed25519", "sk-ecdsa", "rsa")
KEYS = {kind: SoftKey(kind) for kind in KINDS}
MESSAGE, NAMESPACE = b"a message", "test@v1"
SIGNED = {kind: key.sign(MESSAGE, NAMESPACE) for kind, key in KEYS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_key_signs_and_is_read_back(kind: str) -> None:
    key = KEYS[kind]

    parsed = parse_signature(key.sign(MESSAGE, NAMESPACE))

    assert parsed.key == parse_key(key.blob) == parse_key_line(f"{key.line} with a comment")
    assert parsed.key.fingerprint == key.fingerprint
    assert parsed.key.line == key.line
    assert parsed.verify(MESSAGE, NAMESPACE) == int(key.is_fido)
    with pytest.raises(SignatureInvalid):
        parsed.verify(b"another", NAMESPACE)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_bit_of_a_signature_can_be_changed(kind: str, data: st.DataObject) -> None:
    blob = bytearray(base64.b64decode("".join(SIGNED[kind].splitlines()[1:-1])))
    at = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[at // 8] ^= 1 << at % 8

    with pytest.raises(CryofwError):
        read_and_verify(armour(bytes(blob)))


def read_and_verify(text: str) -> int:
    return parse_signature(text).verify(MESSAGE, NAMESPACE)


@settings(max_examples=150, deadline=None)
@given(blob=st.binary(max_size=300), tail=st.binary(max_size=20))
def test_any_bytes_are_read_or_refused_in_words(blob: bytes, tail: bytes) -> None:
    for data in (blob, KEYS["ed25519"].blob + tail, KEYS["sk-ecdsa"].blob[: len(blob)]):
        for read in (parse_key, parse_certificate):
            with suppress(CryofwError):  # and nothing else
                assert read(data) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_signature_is_refused_wherever_it_ends(kind: str) -> None:
    text = KEYS[kind].sign(MESSAGE, NAMESPACE)
    blob = base64.b64decode("".join(text.splitlines()[1:-1]))

    for size in range(len(blob)):
        with pytest.raises(SshFormatError):
            parse_signature(armour(blob[:size])).verify(MESSAGE, NAMESPACE)
    with pytest.raises(SshFormatError):
        parse_signature(armour(blob + b"\0"))


def armour(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    begin, end = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
    return f"{begin}\n{text}\n{end}\n"


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (string(b"ssh-dss") + string(b"x"), "of the kind 'ssh-dss'"),
        (string(b"ssh-ed25519") + string(bytes(31)), "31 bytes"),
        (string(b"ecdsa-sha2-nistp256") + string(b"nistp384") + string(bytes(65)), "another curve"),
        (string(b"ssh-rsa") + mpint(65537) + mpint(2**1023 + 1), "1024 bits"),
        (string(b"ssh-rsa") + mpint(3) + mpint(2**2047 + 1), "exponent 3"),
        (string(b"ssh-rsa") + string(b"\x00\x00\x01") + mpint(2**2047 + 1), "wrong form"),
        (string(b"ssh-rsa") + string(b"\x80") + mpint(2**2047 + 1), "wrong form"),
        (string(b"ssh-ed25519\x1b[2J") + string(bytes(32)), "cannot be shown"),
        (string(b"\xff\xfe"), "not text"),
        (struct.pack(">I", 1 << 30), "a string of 1073741824 bytes"),
        (b"", "too early"),
    ],
)
def test_strange_keys_are_refused_in_words(blob: bytes, says: str) -> None:
    with pytest.raises(SshFormatError, match=says):
        parse_key(blob)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        "ssh-rsa " + KEYS["ecdsa"].line[20:],
        KEYS["ed25519"].line + "=",
        "no-touch-required " + KEYS["sk-ecdsa"].line,
    ],
    ids=lambda line: line[:20],
)
def test_what_is_no_public_key_line(line: str) -> None:
    with pytest.raises(SshFormatError):
        parse_key_line(line)


def test_a_signature_over_an_unknown_hash_or_of_another_version() -> None:
    key = KEYS["ed25519"]
    rest = string(key.blob) + string(b"n") + string(b"")
    raw = string(key.raw_signature(b"x"))

    with pytest.raises(SshFormatError, match="hash that is not known"):
        parse_signature(armour(b"SSHSIG" + struct.pack(">I", 1) + rest + string(b"md5") + raw))
    with pytest.raises(SshFormatError, match="version 2"):
        parse_signature(armour(b"SSHSIG" + struct.pack(">I", 2) + rest + string(b"sha512") + raw))
    with pytest.raises(SshFormatError, match="no signature"):
        parse_signature("-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n")


def test_certificates_keep_what_they_say() -> None:
    authority, key = KEYS["ecdsa"], KEYS["sk-ed25519"]

    found = parse_certificate(
        certificate(authority, key, ("a@lab", "b@lab"), valid_after=5, valid_before=9)
    )

    assert found.key == parse_key(key.blob)
    assert found.authority == parse_key(authority.blob)
    assert (found.principals, found.valid_after, found.valid_before) == (("a@lab", "b@lab"), 5, 9)
    assert (found.serial, found.identity, found.verify_required) == (17, "short-lived", False)


def test_a_certificate_cannot_be_an_authority() -> None:
    inner = certificate(KEYS["ecdsa"], KEYS["ed25519"], ("a@lab",))
    key = KEYS["ed25519"]
    outer = certificate(key, key, ("a@lab",)).replace(string(key.blob), string(inner))

    with pytest.raises(SshFormatError, match="of the kind"):
        parse_certificate(outer)


def test_an_option_that_stands_twice_is_refused() -> None:
    twice = option("verify-required") * 2

    with pytest.raises(SshFormatError, match="twice"):
        parse_certificate(certificate(KEYS["ecdsa"], KEYS["ed25519"], ("a@lab",), options=twice))
