from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from cryofw.image import AesBits, Algorithm, ImageRejected, KeyWrap
from cryofw.image.publishedkeys import PUBLISHED_KEYS
from cryofw.keys import (
    KeyFileError,
    KeyRefused,
    load_decryption_key,
    load_encryption_key,
    no_passphrase,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

WRAPS = (KeyWrap.ECIES_P256, KeyWrap.ECIES_X25519, KeyWrap.RSA_OAEP)


def private_key(wrap: KeyWrap) -> PrivateKeyTypes:
    if wrap is KeyWrap.ECIES_P256:
        return ec.generate_private_key(ec.SECP256R1())
    if wrap is KeyWrap.RSA_OAEP:
        return rsa.generate_private_key(65537, 2048)
    return x25519.X25519PrivateKey.generate()


def write(directory: Path, key: PrivateKeyTypes, name: str = "d", secret: bytes = b"") -> Path:
    how = BestAvailableEncryption(secret) if secret else NoEncryption()
    path = directory / f"{name}.pem"
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / f"{name}.pub.pem").write_bytes(public)
    return path


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize("wrap", WRAPS)
def test_what_the_public_half_seals_the_private_half_opens(
    tmp_path: Path, wrap: KeyWrap, bits: AesBits
) -> None:
    path = write(tmp_path, private_key(wrap))
    public = load_encryption_key(tmp_path / "d.pub.pem")

    first, second = public.seal(bits), public.seal(bits)

    assert public.wrap is wrap
    assert first.tlv.type == wrap.tlv_type
    assert len(first.tlv.value) == wrap.size(bits)
    assert first.content_key != second.content_key
    assert first.tlv.value[:32] != second.tlv.value[:32]
    private = load_decryption_key(path, no_passphrase)
    assert private.content_key(wrap, first.tlv.value) == first.content_key
    assert len(first.content_key) * 8 == bits


@pytest.mark.parametrize("wrap", [KeyWrap.ECIES_P256, KeyWrap.ECIES_X25519])
def test_every_flipped_bit_of_a_record_is_found(tmp_path: Path, wrap: KeyWrap) -> None:
    private = load_decryption_key(write(tmp_path, private_key(wrap)), no_passphrase)
    value = load_encryption_key(tmp_path / "d.pub.pem").seal(AesBits.AES_128).tlv.value

    for position in range(len(value) * 8):
        bad = bytearray(value)
        bad[position // 8] ^= 1 << position % 8
        with pytest.raises(ImageRejected, match="does not open with this decryption key"):
            private.content_key(wrap, bytes(bad))


@pytest.mark.parametrize("wrap", WRAPS)
def test_another_devices_key_and_another_kind_do_not_open_it(tmp_path: Path, wrap: KeyWrap) -> None:
    write(tmp_path, private_key(wrap))
    value = load_encryption_key(tmp_path / "d.pub.pem").seal(AesBits.AES_256).tlv.value
    for other in WRAPS:
        key = load_decryption_key(write(tmp_path, private_key(other), "other"), no_passphrase)
        with pytest.raises(ImageRejected, match="does not open"):
            key.content_key(wrap, value)


def test_small_order_points_are_refused(tmp_path: Path) -> None:
    key = load_decryption_key(write(tmp_path, private_key(KeyWrap.ECIES_X25519)), no_passphrase)

    for point in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(ImageRejected):
            key.content_key(KeyWrap.ECIES_X25519, point + bytes(48))


@pytest.mark.parametrize(
    ("algorithm", "wrap", "fits"),
    [
        (Algorithm.ECDSA_P256, KeyWrap.ECIES_P256, True),
        (Algorithm.ED25519, KeyWrap.ECIES_X25519, True),
        (Algorithm.RSA_2048, KeyWrap.RSA_OAEP, True),
        (Algorithm.RSA_3072, KeyWrap.RSA_OAEP, True),
        (Algorithm.ECDSA_P256, KeyWrap.ECIES_X25519, False),
        (Algorithm.ED25519, KeyWrap.ECIES_P256, False),
        (Algorithm.ED25519, KeyWrap.RSA_OAEP, False),
    ],
)
def test_signature_and_encryption_are_of_one_kind(
    tmp_path: Path, algorithm: Algorithm, wrap: KeyWrap, fits: bool
) -> None:
    write(tmp_path, private_key(wrap))
    key = load_encryption_key(tmp_path / "d.pub.pem")

    if fits:
        key.require_fit(algorithm)
        return
    with pytest.raises(KeyRefused, match="do not go together"):
        key.require_fit(algorithm)


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 3072),
    ],
    ids=["ed25519", "p384", "rsa-3072"],
)
def test_keys_that_mcuboot_does_not_decrypt_with_are_refused(
    tmp_path: Path, key: PrivateKeyTypes
) -> None:
    path = write(tmp_path, key)

    with pytest.raises(KeyFileError, match="cannot encrypt"):
        load_encryption_key(tmp_path / "d.pub.pem")
    with pytest.raises(KeyFileError, match="cannot decrypt"):
        load_decryption_key(path, no_passphrase)


def test_halves_are_not_mixed_up(tmp_path: Path) -> None:
    path = write(tmp_path, private_key(KeyWrap.ECIES_X25519))

    with pytest.raises(KeyFileError, match="public one is expected"):
        load_encryption_key(path)
    (tmp_path / "d.pub.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match="holds no usable private key"):
        load_decryption_key(tmp_path / "d.pub.pem", no_passphrase)


def test_a_published_key_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum("enc-" in name for name in PUBLISHED_KEYS.values()) == 3
    write(tmp_path, private_key(KeyWrap.ECIES_X25519))
    fingerprint = load_encryption_key(tmp_path / "d.pub.pem").fingerprint
    monkeypatch.setitem(PUBLISHED_KEYS, fingerprint, "enc-of-this-test")

    with pytest.raises(KeyRefused, match="published development key"):
        load_encryption_key(tmp_path / "d.pub.pem")


def test_a_decryption_key_is_read_like_any_secret(tmp_path: Path) -> None:
    path = write(tmp_path, private_key(KeyWrap.ECIES_P256), secret=b"sesame")

    load_decryption_key(path, lambda _name: b"sesame")
    with pytest.raises(KeyFileError, match="no passphrase was given"):
        load_decryption_key(path, no_passphrase)
    path.chmod(0o644)
    with pytest.raises(KeyRefused, match="open to others"):
        load_decryption_key(path, lambda _name: b"sesame")
