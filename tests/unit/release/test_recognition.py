"""Files that were flashed by hand: whose they are, and whether they are whole."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.errors import CryofwError, VerificationFailed
from cryofw.image import Algorithm, ImageOptions, Payload, Version, attach, build_image, parse_image
from cryofw.image.errors import ImageError, ImageRejected
from cryofw.journal import MemoryStorage
from cryofw.release import ImageStore, recognise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryofw.image import PublicKey

    Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

_FIRMWARE = bytes(range(256)) * 8


def signed(keys: Keys, algorithm: Algorithm, *, counter: int | None = 4) -> bytes:
    key, sign = keys[algorithm]
    options = ImageOptions(
        version=Version.parse("1.2.3"), pad_header=True, board="cc40", security_counter=counter
    )
    unsigned = build_image(Payload(_FIRMWARE), options)
    return attach(unsigned, key, sign(unsigned.to_sign(key.algorithm)))


@pytest.fixture(scope="module")
def ours(image_keys: Keys) -> PublicKey:
    return image_keys[Algorithm.ED25519][0]


@pytest.fixture(scope="module")
def foreign(image_keys: Keys) -> bytes:
    """An image of somebody whose key is not ours."""
    return signed(image_keys, Algorithm.ECDSA_P256)


def test_an_image_of_ours_is_verified(image_keys: Keys, ours: PublicKey) -> None:
    found = recognise(signed(image_keys, Algorithm.ED25519), [ours])
    assert found.is_verified
    assert found.firmware.key_hash == found.names_key == ours.key_hash.hex()
    assert found.remark == ""


@pytest.mark.parametrize("known", [True, False])
def test_a_foreign_image_is_known_by_its_hash(foreign: bytes, ours: PublicKey, known: bool) -> None:
    found = recognise(foreign, [ours] if known else [])
    assert not found.is_verified
    assert found.firmware.hash == parse_image(foreign).digest.hex()
    assert (found.firmware.version, found.firmware.security_counter) == ("1.2.3", 4)
    assert (found.firmware.board, found.firmware.key_hash) == ("cc40", "")
    assert found.firmware.file_sha256 == sha256(foreign).hexdigest()


def test_padding_is_a_programmers(foreign: bytes) -> None:
    found = recognise(foreign + b"\xff" * 8192, [])
    assert found.data == foreign


def test_a_signature_that_does_not_verify_makes_no_image_foreign(
    image_keys: Keys, ours: PublicKey
) -> None:
    image = bytearray(signed(image_keys, Algorithm.ED25519))
    image[-1] ^= 1
    with pytest.raises(ImageRejected):
        recognise(bytes(image), [ours])


@given(at=st.integers(min_value=0, max_value=len(_FIRMWARE)), bit=st.integers(0, 7))
def test_what_is_not_whole_is_refused(foreign: bytes, at: int, bit: int) -> None:
    """Header, body and protected records: whatever flips, it is no image with that hash."""
    image = bytearray(foreign)
    image[at] ^= 1 << bit
    try:
        found = recognise(bytes(image), [])
    except CryofwError:
        return
    assert found.firmware.hash == parse_image(foreign).digest.hex(), "it is another image"
    assert sha256(found.data).digest() != sha256(foreign).digest()


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, b"MZ" + bytes(100)])
def test_what_is_no_image_is_bad_input(data: bytes) -> None:
    with pytest.raises(ImageError):
        recognise(data, [])


def test_an_adopted_image_is_a_way_back_only(foreign: bytes, ours: PublicKey) -> None:
    storage, adopted = MemoryStorage(), dict[str, str]()
    store = ImageStore(storage, [ours], lambda: adopted)
    found = recognise(foreign, [ours])
    store.adopt(found)
    image = found.firmware.hash
    with pytest.raises(VerificationFailed):
        store.load_way_back(image)
    assert store.find(image) is None

    adopted[image] = found.firmware.file_sha256
    assert store.load_way_back(image) == foreign
    assert store.known([image]) == {image: found.firmware}
    with pytest.raises(VerificationFailed, match="not trusted"):
        store.load(image)

    storage.write_atomic(f"images/{image}.bin", foreign + b"\0")
    with pytest.raises(VerificationFailed):
        ImageStore(storage, [ours], lambda: adopted).load_way_back(image)


def test_an_image_whose_key_left_the_keyring_is_no_way_back(
    image_keys: Keys, ours: PublicKey
) -> None:
    """Then there is none, as the plan will say; a damaged file is another matter."""
    data = signed(image_keys, Algorithm.ED25519)
    storage = MemoryStorage()
    image = ImageStore(storage, [ours]).add(data).hash
    other = image_keys[Algorithm.ECDSA_P256][0]
    assert ImageStore(storage, [ours]).known([image]).keys() == {image}
    assert ImageStore(storage, [other]).known([image]) == {}

    (name,) = storage.list("images/")
    storage.write_atomic(name, data[:-1] + bytes([data[-1] ^ 1]))  # its signature
    with pytest.raises(VerificationFailed):
        ImageStore(storage, [ours]).known([image])
    storage.write_atomic(name, signed(image_keys, Algorithm.ECDSA_P256, counter=5))
    with pytest.raises(VerificationFailed):
        ImageStore(storage, [ours]).known([image])
