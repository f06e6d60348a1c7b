"""A bootloader that overwrites: no test boot, no way back, and images that it unpacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cryofw.image import (
    Algorithm,
    Compression,
    ImageOptions,
    PublicKey,
    Version,
    attach,
    build_image,
    compress,
    parse_image,
    read_payload,
)
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

Bench = Any  # conftest's; test directories are no packages, so it cannot be imported
SLOT_SIZE = 32 * 1024
SECTOR_SIZE = 1024

OVERWRITE = BootloaderConfig(overwrite_only=True)
UNPACKS = BootloaderConfig(overwrite_only=True, compressed="lzma2-arm-thumb")
Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]


@pytest.fixture
def signed(image_keys: Keys) -> Callable[..., tuple[bytes, bytes]]:
    """Plain and compressed image of a version."""
    public, sign = image_keys[Algorithm.ED25519]

    def make(
        version: str, kind: Compression = Compression.LZMA2, counter: int | None = None
    ) -> tuple[bytes, bytes]:
        body = (b"firmware " + version.encode()) * 900
        options = ImageOptions(
            version=Version.parse(version), pad_header=True, header_size=64, board="cc40",
            compression=kind, security_counter=counter,
        )  # fmt: skip
        plain = build_image(read_payload(body, "bin"), options)
        signature = sign(plain.to_sign(public.algorithm))
        packed = compress(plain, public, signature)
        again = sign(packed.to_sign(public.algorithm))
        return attach(plain, public, signature), attach(packed, public, again)

    return make


class Device:
    def __init__(self, key: PublicKey, old: bytes, config: BootloaderConfig) -> None:
        storage = MemoryStorage(2 * SLOT_SIZE, block_size=SECTOR_SIZE)
        self.flash = Flash(storage, sector_size=SECTOR_SIZE)
        self.loader = Bootloader(self.flash, SignatureCheck([key]), config)
        self.put(0, old)

    def put(self, slot: int, data: bytes) -> None:
        area = self.loader.slot(slot)
        area.erase()
        area.program(0, data + b"\xff" * (-len(data) % 4))

    def boots(self, new: bytes) -> bytes:
        """What runs after the new image was marked."""
        self.put(1, new)
        self.loader.set_pending(permanent=False)
        assert self.loader.boot().image is not None
        return self.holds(0)

    def holds(self, slot: int) -> bytes:
        area = self.loader.slot(slot)
        image = read_slot_image(area)
        return area.read(0, image.size) if isinstance(image, SlotImage) else b""


def key_of(image_keys: Keys) -> PublicKey:
    return image_keys[Algorithm.ED25519][0]


def test_it_overwrites_at_once_and_nothing_is_left(
    bench: Bench, signed: Callable[..., tuple[bytes, bytes]]
) -> None:
    old, new = bench.image("1.0.0"), bench.image("1.1.0")
    bench.build(old, bootloader=OVERWRITE)
    assert bench.read(0, 8, query="mode") == {"mode": 2}

    bench.test_boot(new)

    assert bench.state() == ["1.1.0"]
    image = bench.read(1, 0)["images"][0]
    assert (image["confirmed"], image["active"]) == (True, True)
    bench.reset()
    assert bench.state() == ["1.1.0"]


@pytest.mark.parametrize("kind", list(Compression))
def test_a_compressed_image_runs_under_the_hash_of_the_plain_one(
    bench: Bench, signed: Callable[..., tuple[bytes, bytes]], kind: Compression
) -> None:
    plain, packed = signed("1.1.0", kind)
    bench.build(bench.image("1.0.0"), bootloader=UNPACKS)
    bench.upload(packed)
    assert bench.read(1, 0)["images"][1]["hash"] == parse_image(packed).hash
    bench.mark(packed)
    bench.reset()

    images = bench.read(1, 0)["images"]
    assert [one["hash"] for one in images] == [parse_image(plain).hash]
    slot = bench.controller.bootloader.slot(0)
    assert slot.read(0, len(plain)) == plain


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (OVERWRITE, Compression.LZMA2),
        (BootloaderConfig(overwrite_only=True, compressed="lzma2"), Compression.LZMA2_ARM_THUMB),
        (BootloaderConfig(compressed="lzma2"), Compression.LZMA2),
    ],
)
def test_who_does_not_unpack_keeps_the_old_image(
    image_keys: Keys,
    signed: Callable[..., tuple[bytes, bytes]],
    config: BootloaderConfig,
    kind: Compression,
) -> None:
    old, _ = signed("1.0.0")
    device = Device(key_of(image_keys), old, config)
    assert device.boots(signed("1.1.0", kind)[1]) == old
    assert device.holds(1) == b""


def test_an_image_that_does_not_unpack_is_refused_before_anything_is_erased(
    image_keys: Keys, signed: Callable[..., tuple[bytes, bytes]]
) -> None:
    old, _ = signed("1.0.0")
    packed = bytearray(signed("1.1.0")[1])
    packed[70] ^= 0xFF
    device = Device(key_of(image_keys), old, UNPACKS)
    assert device.boots(bytes(packed)) == old


def test_a_compressed_image_in_the_primary_slot_does_not_start(
    image_keys: Keys, signed: Callable[..., tuple[bytes, bytes]]
) -> None:
    device = Device(key_of(image_keys), signed("1.0.0")[1], UNPACKS)
    assert device.loader.boot().image is None


def test_one_that_is_too_large_when_unpacked_is_refused(
    image_keys: Keys, signed: Callable[..., tuple[bytes, bytes]]
) -> None:
    public, sign = image_keys[Algorithm.ED25519]
    options = ImageOptions(version=Version(2), pad_header=True, compression=Compression.LZMA2)
    plain = build_image(read_payload(bytes(range(1, 100)) * 330, "bin"), options)
    packed = compress(plain, public, sign(plain.to_sign(public.algorithm)))
    data = attach(packed, public, sign(packed.to_sign(public.algorithm)))
    assert len(data) < 2000
    old, _ = signed("1.0.0")
    assert Device(public, old, UNPACKS).boots(data) == old


@pytest.mark.parametrize("packed", [False, True])
def test_a_power_cut_anywhere_in_it_ends_with_the_new_image(
    image_keys: Keys, signed: Callable[..., tuple[bytes, bytes]], *, packed: bool
) -> None:
    old, _ = signed("1.0.0")
    new = signed("1.1.0")
    cuts = 0
    for operation in range(1000):
        device = Device(key_of(image_keys), old, UNPACKS)
        device.put(1, new[packed])
        device.loader.set_pending(permanent=False)
        device.flash.arm(PowerCut(operation, torn=0.4))
        try:
            device.loader.boot()
        except PowerLostError:
            cuts += 1
            device.flash.arm(None)
            assert device.loader.boot().image is not None, f"cut at operation {operation}"
        else:
            break
        assert device.holds(0) == new[0], f"cut at operation {operation}"
        assert device.loader.boot().swapped is SwapType.NONE
    assert cuts > 20


def test_the_hardware_counter_follows_at_once(
    image_keys: Keys, signed: Callable[..., tuple[bytes, bytes]]
) -> None:
    config = BootloaderConfig(overwrite_only=True, compressed="lzma2", hardware_counter=True)
    device = Device(key_of(image_keys), signed("1.0.0", counter=1)[0], config)
    new = signed("1.1.0", counter=4)
    assert device.boots(new[1]) == new[0]
    assert device.loader.counter.value == 4
    assert device.boots(signed("1.2.0", counter=3)[1]) == new[0]
