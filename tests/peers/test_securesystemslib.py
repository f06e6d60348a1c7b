"""Keys through securesystemslib: its signers for us, and its verification of our signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import (  # type: ignore[attr-defined]  # its API, without __all__
    SIGNER_FOR_URI_SCHEME,
    CryptoSigner,
    Key,
    Signature,
    SSlibKey,
)

from cryofw.image import Algorithm
from cryofw.keys import (
    KeyFileError,
    KeyringError,
    KeyServiceUnreachable,
    Purpose,
    generate_key,
    load_file_signer,
    load_keyring,
    no_passphrase,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.peer

SCHEMES = {
    Algorithm.ECDSA_P256: "ecdsa-sha2-nistp256",
    Algorithm.ED25519: "ed25519",
    Algorithm.RSA_2048: "rsassa-pss-sha256",
    Algorithm.RSA_3072: "rsassa-pss-sha256",
}


def keyring(directory: Path, uri: str, algorithm: Algorithm) -> Path:
    path = directory / "keys.yaml"
    path.write_text(
        "schema: cryofw.keys/v1\nkeys:\n"
        f"  k: {{uri: '{uri}', purpose: image, algorithm: {algorithm}, public: k.pub.pem}}\n"
    )
    return path


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_signer_of_the_library_signs_for_us(tmp_path: Path, algorithm: Algorithm) -> None:
    public = generate_key(tmp_path / "k.pem", algorithm, None)
    ring = load_keyring(keyring(tmp_path, f"file2:{tmp_path / 'k.pem'}", algorithm))

    signer = ring.signer("k", Purpose.IMAGE, no_passphrase)

    assert type(signer).__name__ == "LibrarySigner"
    assert signer.public_key == public
    public.verify(signer.sign(b"m" * 32), b"m" * 32)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_library_verifies_what_a_file_key_signs(tmp_path: Path, algorithm: Algorithm) -> None:
    generate_key(tmp_path / "k.pem", algorithm, None)
    signer = load_file_signer(tmp_path / "k.pem", "k", Purpose.IMAGE, no_passphrase)
    loaded = load_pem_public_key(signer.public_key.pem)
    key = SSlibKey.from_crypto(loaded, scheme=SCHEMES[algorithm])

    key.verify_signature(Signature(key.keyid, signer.sign(b"message").hex()), b"message")


def test_a_private_key_that_is_not_the_public_ones_is_refused(tmp_path: Path) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)
    generate_key(tmp_path / "other.pem", Algorithm.ED25519, None)
    ring = load_keyring(keyring(tmp_path, f"file2:{tmp_path / 'other.pem'}", Algorithm.ED25519))

    with pytest.raises(KeyringError, match="does not match"):
        ring.signer("k", Purpose.IMAGE, no_passphrase)


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)
    ring = load_keyring(keyring(tmp_path, f"file2:{tmp_path / 'gone.pem'}", Algorithm.ED25519))

    with pytest.raises(KeyringError, match="cannot open the key 'k'"):
        ring.signer("k", Purpose.IMAGE, no_passphrase)


class TokenSigner(CryptoSigner):
    """A token as a plug-in adds one: wants a PIN."""

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: Callable[[str], str] | None = None,
    ) -> CryptoSigner:
        assert secrets_handler is not None
        if secrets_handler("PIN") != "1234":
            raise RuntimeError("CKR_PIN_INCORRECT")
        uri = priv_key_uri.replace("token:", "file2:")
        return super().from_priv_key_uri(uri, public_key, secrets_handler)


class FaultySigner(CryptoSigner):
    """A token that holds another key (URI `token:wrong`), or was pulled out."""

    answers: bool

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: Callable[[str], str] | None = None,
    ) -> CryptoSigner:
        signer = cls(Ed25519PrivateKey.generate())
        signer.answers = priv_key_uri.endswith("wrong")
        return signer

    def sign(self, payload: bytes) -> Signature:
        if not self.answers:
            raise RuntimeError("CKR_DEVICE_REMOVED")
        return super().sign(payload)


def test_a_scheme_that_a_plug_in_registers_works_and_gets_its_pin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "token", TokenSigner)
    public = generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)
    ring = load_keyring(keyring(tmp_path, f"token:{tmp_path / 'k.pem'}", Algorithm.ED25519))

    signer = ring.signer("k", Purpose.IMAGE, lambda _name: b"1234")

    public.verify(signer.sign(b"m"), b"m")
    with pytest.raises(KeyServiceUnreachable, match="CKR_PIN_INCORRECT"):
        ring.signer("k", Purpose.IMAGE, lambda _name: b"0000")
    with pytest.raises(KeyFileError, match="needs a PIN"):
        ring.signer("k", Purpose.IMAGE, no_passphrase)


@pytest.mark.parametrize(
    ("answer", "exit_code", "part"),
    [("unplugged", 69, "CKR_DEVICE_REMOVED"), ("wrong", 4, "did not make it")],
)
def test_a_token_that_does_not_sign_or_signs_with_another_key_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, exit_code: int, part: str
) -> None:
    from cryofw.errors import CryofwError

    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "token", FaultySigner)
    generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)
    ring = load_keyring(keyring(tmp_path, f"token:{answer}", Algorithm.ED25519))
    signer = ring.signer("k", Purpose.IMAGE, no_passphrase)

    with pytest.raises(CryofwError, match=part) as caught:
        signer.sign(b"message")

    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("uri", "extra"),
    [
        ("awskms:alias/firmware", "awskms"),
        ("gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "gcpkms"),
        ("azurekms://lab.vault.azure.net/keys/firmware/1", "azurekms"),
        ("hv:firmware/1", "vault"),
    ],
)
def test_a_key_service_whose_library_is_missing_names_the_extra(
    tmp_path: Path, uri: str, extra: str
) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ECDSA_P256, None)
    ring = load_keyring(keyring(tmp_path, uri, Algorithm.ECDSA_P256))

    with pytest.raises(KeyringError, match="a library that is not installed") as caught:
        ring.signer("k", Purpose.IMAGE, no_passphrase)

    assert caught.value.hint == f"pip install 'securesystemslib[{extra}]'"
