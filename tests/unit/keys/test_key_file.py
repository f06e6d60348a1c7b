from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cryofw.image import Algorithm, ImageError
from cryofw.keys import (
    FileRefused,
    KeyFileError,
    KeyRefused,
    Purpose,
    generate_key,
    load_file_signer,
    load_keyring,
    no_passphrase,
    public_half,
    read_public_key,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_can_read_a_private_key_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"

    key = generate_key(path, Algorithm.ED25519, None)

    assert (mode(path), mode(tmp_path / "k.pub.pem")) == (0o600, 0o644)
    assert read_public_key(tmp_path / "k.pub.pem") == key


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_signs_what_its_public_half_verifies(
    tmp_path: Path, algorithm: Algorithm, passphrase: bytes | None
) -> None:
    path = tmp_path / "k.pem"
    public = generate_key(path, algorithm, passphrase)

    signer = load_file_signer(path, "k", Purpose.IMAGE, lambda _name: passphrase)

    assert signer.public_key == public
    assert public.algorithm is algorithm
    message = b"m" * 32
    public.verify(signer.sign(message), message)


@pytest.mark.parametrize("algorithm", [Algorithm.ECDSA_P256, Algorithm.ED25519])
def test_the_same_message_gives_the_same_signature(tmp_path: Path, algorithm: Algorithm) -> None:
    generate_key(tmp_path / "k.pem", algorithm, None)
    signer = load_file_signer(tmp_path / "k.pem", "k", Purpose.IMAGE, no_passphrase)

    assert signer.sign(b"message") == signer.sign(b"message")


def test_neither_the_key_nor_its_passphrase_shows_in_a_signer(tmp_path: Path) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ED25519, b"open sesame")
    signer = load_file_signer(tmp_path / "k.pem", "k", Purpose.IMAGE, lambda _name: b"open sesame")

    assert (
        repr(signer) == "FileSigner('k', <Purpose.IMAGE: 'image'>, <Algorithm.ED25519: 'ed25519'>)"
    )


@pytest.mark.parametrize("existing", ["k.pem", "k.pub.pem"])
def test_an_existing_half_is_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")

    with pytest.raises(KeyFileError, match="exists already"):
        generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)

    assert (tmp_path / existing).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == [existing]


def test_a_dangling_link_does_not_lead_a_new_key_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "k.pem").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyFileError, match="exists already"):
        generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o660, 0o601])
def test_a_private_key_that_others_can_use_is_refused(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "k.pem"
    generate_key(path, Algorithm.ED25519, None)
    path.chmod(bits)

    with pytest.raises(KeyRefused, match=f"its mode is {bits:04o}") as caught:
        load_file_signer(path, "k", Purpose.IMAGE, no_passphrase)

    assert "chmod 600" in caught.value.hint


def test_the_passphrase_is_asked_for_only_when_the_key_is_encrypted(tmp_path: Path) -> None:
    generate_key(tmp_path / "open.pem", Algorithm.ED25519, None)
    generate_key(tmp_path / "locked.pem", Algorithm.ED25519, b"p")
    asked = []

    def source(name: str) -> bytes:
        asked.append(name)
        return b"p"

    for name in ("open", "locked"):
        load_file_signer(tmp_path / f"{name}.pem", name, Purpose.IMAGE, source)

    assert asked == ["locked"]


@pytest.mark.parametrize(
    ("passphrase", "part"),
    [(None, "no passphrase was given"), (b"wrong", "the passphrase is wrong")],
)
def test_an_encrypted_key_stays_shut(tmp_path: Path, passphrase: bytes | None, part: str) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ECDSA_P256, b"right")

    with pytest.raises(KeyFileError, match=part):
        load_file_signer(tmp_path / "k.pem", "k", Purpose.IMAGE, lambda _name: passphrase)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
)
def test_a_file_without_a_key_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k.pem"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match="no usable private key"):
        load_file_signer(path, "k", Purpose.IMAGE, no_passphrase)


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, x25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    keys: dict[str, x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey] = {
        "x25519": x25519.X25519PrivateKey.generate(),
        "p384": ec.generate_private_key(ec.SECP384R1()),
    }
    for name, key in keys.items():
        path = tmp_path / f"{name}.pem"
        path.touch(0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with pytest.raises((KeyFileError, ImageError)) as caught:
            load_file_signer(path, name, Purpose.IMAGE, no_passphrase)
        assert caught.value.exit_code == 3


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        load_file_signer(tmp_path, "k", Purpose.IMAGE, no_passphrase)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (Path("/dev/null"), Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(FileRefused, match="no regular file"):
            load_file_signer(path, "k", Purpose.IMAGE, no_passphrase)
        with pytest.raises(FileRefused, match="no regular file"):
            read_public_key(path)
    (tmp_path / "large").write_bytes(bytes(65537))
    with pytest.raises(KeyFileError, match="larger than"):
        read_public_key(tmp_path / "large")


def test_what_others_can_write_to_is_not_believed(tmp_path: Path) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)
    public, ring = tmp_path / "k.pub.pem", tmp_path / "keys.yaml"
    ring.write_text(
        "schema: cryofw.keys/v1\n"
        "keys:\n  k: {uri: file:k.pem, purpose: image, algorithm: ed25519}\n"
    )
    for path in (public, ring):
        path.chmod(0o666)
        with pytest.raises(FileRefused, match="others may write"):
            load_keyring(ring)
        path.chmod(0o664)
        assert load_keyring(ring).entries
    (tmp_path / "link.yaml").symlink_to(ring)
    ring.chmod(0o646)
    with pytest.raises(FileRefused, match="0646"):
        load_keyring(tmp_path / "link.yaml")


def test_a_private_key_is_not_read_as_a_public_one(tmp_path: Path) -> None:
    generate_key(tmp_path / "k.pem", Algorithm.ED25519, None)

    with pytest.raises(KeyFileError, match="private key where a public one") as caught:
        read_public_key(tmp_path / "k.pem")

    assert str(tmp_path / "k.pub.pem") in caught.value.hint


@pytest.mark.parametrize(
    ("private", "public"), [("k.pem", "k.pub.pem"), ("a/k.key", "a/k.key.pub.pem")]
)
def test_the_public_half_lies_beside_the_private_one(private: str, public: str) -> None:
    assert public_half(Path(private)) == Path(public)
