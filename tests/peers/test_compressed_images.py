"""Compressed images, both directions against imgtool and the xz tool that MCUboot's docs name."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from imgtool.main import imgtool as imgtool_command

from cryofw.cli.main import run
from cryofw.image import (
    Compression,
    ImageRejected,
    inspect_image,
    parse_image,
    read_payload,
    verify_image,
)
from cryofw.keys import read_public_key
from cryofw.simulator import (
    Bootloader,
    BootloaderConfig,
    Flash,
    MemoryStorage,
    SignatureCheck,
    SwapType,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryofw.image import PublicKey

pytestmark = pytest.mark.peer

FIRMWARE = Path(__file__).parents[2] / "cryofw" / "cli" / "sample" / "prebuilt" / "good.bin"
NAMES = {"lzma2": "lzma2", "lzma2-arm-thumb": "lzma2armthumb"}
SHAPE = ("-v", "1.2.3", "-H", "0x200", "-S", "0x20000", "-s", "3", "--align", "4")


@dataclass(frozen=True)
class Key:
    path: Path

    @property
    def public(self) -> PublicKey:
        return read_public_key(self.path.with_suffix(".pub.pem"))


def imgtool(*words: str | Path) -> str:
    result = CliRunner().invoke(imgtool_command, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module", params=["ed25519", "ecdsa-p256", "rsa-2048"])
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Key:
    path = tmp_path_factory.mktemp("keys") / "k.pem"
    imgtool("keygen", "-k", path, "-t", request.param)
    path.chmod(0o600)
    imgtool("getpub", "-k", path, "-e", "pem", "-o", path.with_suffix(".pub.pem"))
    return Key(path)


@pytest.fixture
def firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.chdir(tmp_path)
    for name in ("CRYOFW_PASSPHRASE", "CRYOFW_KEYRING"):
        monkeypatch.delenv(name, raising=False)
    body = read_payload(FIRMWARE.read_bytes(), "bin").data[0x200:] * 4
    Path("firmware.bin").write_bytes(body)
    return body


def theirs(key: Key, kind: str, *more: str, source: str = "firmware.bin") -> bytes:
    words = [*SHAPE, "--compression", NAMES[kind], *more]
    imgtool("sign", "-k", key.path, *words, source, "theirs.bin")
    return Path("theirs.bin").read_bytes()


def ours(key: Key, kind: str, *more: str) -> bytes:
    words = ["sign", "firmware.bin", "ours.bin", "-k", str(key.path), *SHAPE, "--force"]
    assert run([*words, "--compress", kind, *more]) == 0
    return Path("ours.bin").read_bytes()


@pytest.mark.parametrize("kind", list(NAMES))
class TestBothDirections:
    def test_theirs_verifies_and_unpacks(self, key: Key, kind: str, firmware: bytes) -> None:
        data = theirs(key, kind, "--pad-header", "-d", "(1, 2.0.0)", "--custom-tlv", "0xa0", "0x01")
        verified = verify_image(data, [key.public], slot_size=0x20000)
        assert verified.compression is Compression(kind)
        assert verified.plain is not None
        assert verified.plain.body == firmware
        words = ("sign", "-k", key.path, *SHAPE, "--pad-header")
        imgtool(*words, "-d", "(1, 2.0.0)", "--custom-tlv", "0xa0", "0x01", "firmware.bin", "p.bin")
        plain = Path("p.bin").read_bytes()
        assert verified.running_hash == parse_image(plain).hash
        assert inspect_image(data).running_hash == verified.running_hash.hex()

    def test_ours_verifies_there(self, key: Key, kind: str, firmware: bytes) -> None:
        data = ours(key, kind, "-d", "(1, 2.0.0)")
        image = parse_image(data)
        told = imgtool("verify", "-k", key.path.with_suffix(".pub.pem"), "ours.bin")
        assert "Image was correctly validated" in told
        assert f"Image digest: {image.hash.hex()}" in told
        told = imgtool("dumpinfo", "ours.bin")
        for name in ("DECOMP_SIZE", "DECOMP_SHA", "DECOMP_SIGNATURE", "COMPRESSED_LZMA2"):
            assert name in told
        assert ("COMPRESSED_ARM_THUMB" in told) == (kind == "lzma2-arm-thumb")
        assert len(data) < len(firmware)

    def test_equal_bytes(self, key: Key, kind: str, firmware: bytes) -> None:
        """Apart from the two signatures, where these are not deterministic."""
        assert firmware
        one, other = ours(key, kind), theirs(key, kind, "--pad-header")
        if "ed25519" in str(key.public.algorithm):
            assert one == other
            return
        images = parse_image(one), parse_image(other)
        assert images[0].body == images[1].body
        records = [[t.type for t in (*image.protected, *image.tlvs)] for image in images]
        assert records[0] == records[1]
        assert images[0].protected[:3] == images[1].protected[:3]

    def test_xz_unpacks_the_stream(self, key: Key, kind: str, firmware: bytes) -> None:
        if shutil.which("xz") is None:
            pytest.fail("xz is not installed; Debian: apt install xz-utils")
        stream = parse_image(ours(key, kind)).body[2:]
        thumb = ["--armthumb"] if kind == "lzma2-arm-thumb" else []
        done = subprocess.run(
            ["xz", "-dc", "--format=raw", *thumb, "--lzma2=dict=128KiB"],
            input=stream, capture_output=True, check=True,
        )  # fmt: skip
        assert done.stdout == firmware


def test_zeros_before_the_body_are_not_what_bootloaders_hash(key: Key, firmware: bytes) -> None:
    """imgtool without --pad-header hashes the zeros of the file, the bootloader erased flash."""
    Path("room.bin").write_bytes(bytes(0x200) + firmware)
    data = theirs(key, "lzma2", source="room.bin")
    with pytest.raises(ImageRejected, match="inside the compressed one"):
        verify_image(data, [key.public])


def test_theirs_that_falls_back_is_plain(key: Key, firmware: bytes) -> None:
    assert firmware
    Path("noise.bin").write_bytes(bytes(range(200)))
    data = theirs(key, "lzma2", "--pad-header", source="noise.bin")
    assert verify_image(data, [key.public]).compression is None
    words = ["sign", "noise.bin", "n.bin", "-k", str(key.path), *SHAPE, "--compress", "lzma2"]
    assert run(words) == 3
    assert not Path("n.bin").exists()


def test_theirs_compressed_and_encrypted_is_refused(tmp_path: Path, firmware: bytes) -> None:
    assert firmware
    path = tmp_path / "k.pem"
    imgtool("keygen", "-k", path, "-t", "ecdsa-p256")
    path.chmod(0o600)
    imgtool("getpub", "-k", path, "-e", "pem", "-o", path.with_suffix(".pub.pem"))
    key = Key(path)
    data = theirs(key, "lzma2", "--pad-header", "-E", str(path.with_suffix(".pub.pem")))
    with pytest.raises(ImageRejected, match="compressed and encrypted"):
        verify_image(data, [key.public])


@pytest.mark.parametrize("maker", [ours, theirs])
@pytest.mark.parametrize("kind", list(NAMES))
def test_a_bootloader_boots_it_as_the_plain_image(
    key: Key, kind: str, maker: Callable[..., bytes], firmware: bytes
) -> None:
    """The simulated boot side is written from the source of a real one, and shares no line."""
    data = maker(key, kind, *(["--pad-header"] if maker is theirs else []))
    words = ("sign", "-k", key.path, *SHAPE, "--pad-header")
    imgtool(*words, "firmware.bin", "plain.bin")
    plain = parse_image(Path("plain.bin").read_bytes())
    flash = Flash(MemoryStorage(2 * 0x20000, block_size=4096), sector_size=4096)
    config = BootloaderConfig(overwrite_only=True, compressed="lzma2-arm-thumb")
    loader = Bootloader(flash, SignatureCheck([key.public]), config)
    loader.slot(0).program(0, plain.data + b"\xff" * (-len(plain.data) % 4))
    loader.slot(1).program(0, data + b"\xff" * (-len(data) % 4))
    loader.set_pending(permanent=False)

    outcome = loader.boot()

    assert outcome.swapped is SwapType.PERMANENT
    assert outcome.image is not None
    assert outcome.image.hash == plain.hash
    assert loader.slot(0).read(0x200, len(firmware)) == firmware
