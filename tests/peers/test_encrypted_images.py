"""Encrypted images, both directions against imgtool, and into the slots of a bootloader.

The simulated bootloader's boot side is written from MCUboot's source with hmac and hashlib; it
shares no line with what encrypts and decrypts here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from imgtool.main import imgtool as imgtool_command

from cryofw.cli.main import run
from cryofw.image import AesBits, Body, Image, ImageRejected, decrypted, parse_image, verify_image
from cryofw.keys import load_decryption_key, no_passphrase, read_public_key
from cryofw.simulator import (
    Bootloader,
    BootloaderConfig,
    Flash,
    MemoryStorage,
    PowerCut,
    PowerLostError,
    SignatureCheck,
    SwapType,
)
from cryofw.simulator.slot_image import SlotImage, read_slot_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.image import PublicKey
    from cryofw.keys import DecryptionKey

pytestmark = pytest.mark.peer

FIRMWARE = bytes(range(1, 252)) * 41  # no whole number of AES blocks
SLOT_SIZE = 64 * 1024
SECTOR_SIZE = 4096


@dataclass(frozen=True)
class Pair:
    """A signing key and a key of the devices, both made by imgtool, in files of one folder."""

    signing: Path
    devices: Path
    imgtool_words: tuple[str, ...] = ()

    @property
    def public(self) -> PublicKey:
        return read_public_key(self.signing.with_suffix(".pub.pem"))

    @property
    def opener(self) -> DecryptionKey:
        return load_decryption_key(self.devices, no_passphrase)

    @property
    def encrypt_to(self) -> Path:
        return self.devices.with_suffix(".pub.pem")


def imgtool(*words: str | Path) -> str:
    result = CliRunner().invoke(imgtool_command, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def make_pair(directory: Path, signing: str, devices: str, *words: str) -> Pair:
    pair = Pair(directory / f"{signing}.pem", directory / f"d-{devices}.pem", words)
    for path, kind in ((pair.signing, signing), (pair.devices, devices)):
        if not path.exists():
            imgtool("keygen", "-k", path, "-t", kind)
            path.chmod(0o600)
            imgtool("getpub", "-k", path, "-e", "pem", "-o", path.with_suffix(".pub.pem"))
    return pair


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Pair]:
    directory = tmp_path_factory.mktemp("keys")
    return {
        "p256": make_pair(directory, "ecdsa-p256", "ecdsa-p256"),
        "x25519": make_pair(directory, "ed25519", "x25519"),
        "x25519-sha512": make_pair(directory, "ed25519", "x25519", "--hmac-sha", "512"),
        "rsa": make_pair(directory, "rsa-2048", "rsa-2048"),
    }


OURS = ("p256", "x25519", "rsa")
THEIRS = (*OURS, "x25519-sha512")
SHAPE = ("-H", "0x200", "-S", "0x10000", "-s", "3")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("CRYOFW_DECRYPTION_KEY", "CRYOFW_PASSPHRASE", "CRYOFW_KEYRING"):
        monkeypatch.delenv(name, raising=False)
    Path("firmware.bin").write_bytes(FIRMWARE)
    return tmp_path


def ours(pair: Pair, bits: AesBits, *more: str, version: str = "1.2.3", to: str = "a.bin") -> bytes:
    words = ["sign", "firmware.bin", to, "-v", version, "-k", str(pair.signing), *SHAPE]
    words += ["-E", str(pair.encrypt_to), "--encrypt-keylen", str(int(bits)), *more, "--force"]
    assert run(words) == 0
    return Path(to).read_bytes()


def theirs(pair: Pair, bits: AesBits, *more: str) -> bytes:
    words = ["sign", "-k", str(pair.signing), "-v", "1.2.3", "--pad-header", "--align", "1", *SHAPE]
    words += ["-E", str(pair.encrypt_to), "--encrypt-keylen", str(int(bits)), *pair.imgtool_words]
    imgtool(*words, *more, "firmware.bin", "b.bin")
    return Path("b.bin").read_bytes()


def body(image: Image) -> bytes:
    assert image.body[len(FIRMWARE) :].strip(b"\0") == b""
    return image.body[: len(FIRMWARE)]


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize("kind", THEIRS)
def test_what_imgtool_encrypts_opens_and_verifies(
    room: Path, pairs: Mapping[str, Pair], kind: str, bits: AesBits
) -> None:
    pair = pairs[kind]
    data = theirs(pair, bits)

    verified = verify_image(data, [pair.public], opener=pair.opener)

    assert verified.body is Body.ENCRYPTED
    assert body(decrypted(verified.image, pair.opener)) == FIRMWARE
    with pytest.raises(ImageRejected, match="nothing here can open it"):
        verify_image(data, [pair.public])


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize("kind", OURS)
def test_ours_is_laid_out_as_imgtools(
    room: Path, pairs: Mapping[str, Pair], kind: str, bits: AesBits
) -> None:
    pair = pairs[kind]
    mine = parse_image(ours(pair, bits))
    imgtools = parse_image(theirs(pair, bits))

    assert mine.header == imgtools.header
    assert mine.data[: mine.header_size] == imgtools.data[: mine.header_size]
    assert mine.protected == imgtools.protected
    assert [tlv.type for tlv in mine.tlvs] == [tlv.type for tlv in imgtools.tlvs]
    assert mine.tlvs[:2] == imgtools.tlvs[:2]  # hash and key hash: of the same plain image
    assert len(mine.tlvs[3].value) == len(imgtools.tlvs[3].value)
    assert mine.tlvs[3].value != imgtools.tlvs[3].value
    assert mine.body != decrypted(mine, pair.opener).body
    assert decrypted(mine, pair.opener).body == decrypted(imgtools, pair.opener).body


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize("kind", OURS)
def test_imgtool_verifies_ours_in_the_clear_and_decrypted(
    room: Path, pairs: Mapping[str, Pair], kind: str, bits: AesBits
) -> None:
    pair = pairs[kind]
    clear = ours(pair, bits, "--clear", to="clear.bin")
    image = decrypted(parse_image(ours(pair, bits)), pair.opener)
    Path("decrypted.bin").write_bytes(image.data)

    for name in ("clear.bin", "decrypted.bin"):
        assert "correctly validated" in imgtool("verify", "-k", pair.signing, name)
    verified = verify_image(clear, [pair.public])
    assert verified.body is Body.CLEAR
    assert verified.image.hash == image.hash
    assert body(verified.image) == FIRMWARE


def test_what_imgtool_leaves_in_the_clear_verifies_too(
    room: Path, pairs: Mapping[str, Pair]
) -> None:
    pair = pairs["p256"]

    verified = verify_image(theirs(pair, AesBits.AES_128, "--clear"), [pair.public])

    assert verified.body is Body.CLEAR


# -- on a device


class Device:
    """A bootloader that knows the devices' key, or does not, and what its slots hold."""

    def __init__(self, pair: Pair, *, knows_key: bool = True) -> None:
        self.storage = MemoryStorage(2 * SLOT_SIZE)
        self.flash = Flash(self.storage, sector_size=SECTOR_SIZE, write_size=4)
        pem = pair.devices.read_text() if knows_key else ""
        config = BootloaderConfig(decryption_key=pem)
        self.loader = Bootloader(self.flash, SignatureCheck([pair.public]), config)

    def put(self, slot: int, data: bytes) -> None:
        area = self.loader.slot(slot)
        area.erase()
        area.program(0, data + b"\xff" * (-len(data) % 4))

    def holds(self, slot: int) -> bytes:
        area = self.loader.slot(slot)
        image = read_slot_image(area)
        return area.read(0, image.size) if isinstance(image, SlotImage) else b""


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize("kind", THEIRS)
def test_what_imgtool_encrypts_boots(
    room: Path, pairs: Mapping[str, Pair], kind: str, bits: AesBits
) -> None:
    pair = pairs[kind]
    data = theirs(pair, bits)
    device = Device(pair)
    device.put(1, data)
    device.loader.set_pending(permanent=False)

    outcome = device.loader.boot()

    assert outcome.image is not None
    assert outcome.image.hash == parse_image(data).hash
    assert device.holds(0) == decrypted(parse_image(data), pair.opener).data


@pytest.mark.parametrize("bits", AesBits)
@pytest.mark.parametrize("kind", OURS)
def test_ours_boots_and_is_encrypted_again_when_it_reverts(
    room: Path, pairs: Mapping[str, Pair], kind: str, bits: AesBits
) -> None:
    pair = pairs[kind]
    old = ours(pair, bits, version="1.0.0", to="old.bin")
    new = ours(pair, bits, version="2.0.0", to="new.bin")
    device = Device(pair)
    device.put(0, decrypted(parse_image(old), pair.opener).data)
    device.put(1, new)
    device.loader.set_pending(permanent=False)

    assert device.loader.boot().swapped is SwapType.TEST
    assert device.holds(0) == decrypted(parse_image(new), pair.opener).data
    assert device.holds(1) == old  # not a byte of it is plain in the outer slot

    assert device.loader.boot().swapped is SwapType.REVERT
    assert device.holds(0) == decrypted(parse_image(old), pair.opener).data
    assert device.holds(1) == new


def test_a_bootloader_without_the_key_or_with_another_refuses(
    room: Path, pairs: Mapping[str, Pair], tmp_path: Path
) -> None:
    pair = pairs["p256"]
    old, new = ours(pair, AesBits.AES_128, "--clear", to="o.bin"), ours(pair, AesBits.AES_128)
    stranger = make_pair(tmp_path, "ecdsa-p256", "ecdsa-p256")
    other = Pair(pair.signing, stranger.devices)
    for device in (Device(pair, knows_key=False), Device(other)):
        device.put(0, old)
        device.put(1, new)
        device.loader.set_pending(permanent=False)

        outcome = device.loader.boot()

        assert outcome.swapped is SwapType.NONE
        assert "E: Image in the secondary slot is not valid!" in outcome.log
        assert device.holds(0) == old


def test_a_clear_image_in_the_outer_slot_is_refused(room: Path, pairs: Mapping[str, Pair]) -> None:
    pair = pairs["x25519"]
    device = Device(pair)
    device.put(0, ours(pair, AesBits.AES_128, "--clear", version="1.0.0", to="old.bin"))
    device.put(1, ours(pair, AesBits.AES_128, "--clear", version="2.0.0", to="new.bin"))
    device.loader.set_pending(permanent=False)

    assert device.loader.boot().swapped is SwapType.NONE


def test_an_encrypted_image_in_the_primary_slot_does_not_start(
    room: Path, pairs: Mapping[str, Pair]
) -> None:
    pair = pairs["x25519"]
    device = Device(pair)
    device.put(0, ours(pair, AesBits.AES_128))

    assert device.loader.boot().image is None


@pytest.mark.parametrize("plain_side", ["old", "new", "neither"])
def test_a_power_cut_anywhere_in_a_swap_leaves_both_images_whole(
    room: Path, pairs: Mapping[str, Pair], plain_side: str
) -> None:
    pair = pairs["x25519"]
    old = ours(pair, AesBits.AES_256, version="1.0.0", to="old.bin")
    new = ours(pair, AesBits.AES_128, version="2.0.0", to="new.bin")
    words = ["sign", "firmware.bin", "plain.bin", "-k", str(pair.signing), *SHAPE, "-v"]
    assert run([*words, "1.5.0"]) == 0
    plain = Path("plain.bin").read_bytes()
    if plain_side == "old":
        old = plain
    elif plain_side == "new":
        new = plain

    def inner(data: bytes) -> bytes:
        return data if data is plain else decrypted(parse_image(data), pair.opener).data

    cuts = 0
    for operation in range(10_000):
        device = Device(pair)
        device.put(0, inner(old))
        device.put(1, new)
        device.loader.set_pending(permanent=False)
        device.flash.arm(PowerCut(operation))
        try:
            device.loader.boot()
        except PowerLostError:
            cuts += 1
            device.flash.arm(None)
            device.loader.boot(SwapType.TEST)  # the same boot goes on: nothing is reverted by it
        else:
            break
        assert device.holds(0) == inner(new), f"cut at operation {operation}"
        assert device.holds(1) == old, f"cut at operation {operation}"
    assert cuts > 20
