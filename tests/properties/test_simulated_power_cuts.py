"""A power cut at any flash operation never loses an image and never confirms a test image."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cryofw.simulator import (
    Bootloader,
    FileStorage,
    Flash,
    MemoryStorage,
    PowerCut,
    PowerLostError,
    SwapType,
)
from cryofw.simulator.slot_image import SlotImage, read_slot_image

SLOT_SIZE = 32 * 1024
SECTOR_SIZE = 1024


def make_image(version: int, size: int) -> bytes:
    """An unsigned image; what it says of itself is enough for a bootloader that trusts all."""
    body = hashlib.sha256(bytes([version])).digest() * (size // 32)
    header = 0x96F3B83D.to_bytes(4, "little") + bytes(4) + (32).to_bytes(2, "little") + bytes(2)
    header += len(body).to_bytes(4, "little") + bytes(4) + bytes([version, 0]) + bytes(10)
    digest = hashlib.sha256(header + body).digest()
    return header + body + b"\x07\x69\x28\x00" + b"\x10\x00\x20\x00" + digest


def is_intact(data: bytes) -> bool:
    return hashlib.sha256(data[:-40]).digest() == data[-32:]


class Device:
    """Flash and bootloader, with power that fails when told to."""

    def __init__(self) -> None:
        self.flash = Flash(MemoryStorage(2 * SLOT_SIZE, block_size=SECTOR_SIZE), sector_size=1024)
        self.loader = Bootloader(self.flash, is_intact)

    def put(self, slot: int, image: bytes) -> None:
        area = self.loader.slot(slot)
        area.erase()
        area.program(0, image + b"\xff" * (-len(image) % 4))

    def boot(self, *cuts: PowerCut) -> SwapType:
        """Boot, with the power failing as the cuts say, until a boot comes through."""
        for cut in cuts:
            self.flash.arm(cut)
            try:
                outcome = self.loader.boot()
            except PowerLostError:
                continue
            self.flash.arm(None)
            assert outcome.image is not None
            return outcome.swapped
        outcome = self.loader.boot()
        assert outcome.image is not None
        return outcome.swapped

    def version(self, slot: int) -> int:
        image = read_slot_image(self.loader.slot(slot))
        if not isinstance(image, SlotImage) or not self.loader.is_valid(slot):
            return 0
        return image.header.version[0]


cuts = st.lists(
    st.builds(PowerCut, st.integers(0, 120), st.sampled_from([0.0, 0.03, 0.3, 0.5, 0.8, 1.0])),
    max_size=4,
)


@pytest.mark.parametrize("torn", [0.0, 0.1, 0.5, 1.0])
def test_every_cut_of_a_test_swap_ends_in_the_old_image_after_all(torn: float) -> None:
    outcomes = set()
    for operation in range(400):
        device = Device()
        device.put(0, make_image(1, 3000))
        device.put(1, make_image(2, 5000))
        device.loader.set_pending(permanent=False)
        device.flash.arm(PowerCut(operation, torn))
        try:
            device.loader.boot()
        except PowerLostError:
            device.boot()
        else:
            break
        outcomes.add(device.version(0))
        assert {device.version(0), device.version(1)} == {1, 2}
        if device.version(0) == 2:
            assert not device.loader.is_confirmed()
            device.boot()
        assert device.version(0) == 1
        assert device.loader.is_confirmed()
    else:
        pytest.fail("the swap never came through")
    assert 2 in outcomes


@settings(max_examples=150, deadline=None)
@given(
    cuts,
    cuts,
    st.booleans(),
    st.integers(32, 20000),
    st.integers(32, 20000),
)
def test_cuts_in_swap_and_revert(
    first: list[PowerCut], second: list[PowerCut], permanent: bool, old: int, new: int
) -> None:
    device = Device()
    device.put(0, make_image(1, old))
    device.put(1, make_image(2, new))
    device.loader.set_pending(permanent=permanent)

    device.boot(*first)

    assert {device.version(0), device.version(1)} == {1, 2}
    if permanent:
        assert device.version(0) == 2
        assert device.loader.is_confirmed()
        device.boot(*second)
        assert device.version(0) == 2
        return
    reverted = device.version(0) == 1
    device.boot(*second)
    assert {device.version(0), device.version(1)} == {1, 2}
    assert device.version(0) == 1
    assert device.loader.is_confirmed() or not reverted


class SwapMachine(RuleBasedStateMachine):
    """Updates of all kinds with power cuts in all boots, against what has to hold."""

    @initialize()
    def begin(self) -> None:
        self.device = Device()
        self.next_version = 2
        self.device.put(0, make_image(1, 4000))
        self.good = 1  # the last image that was confirmed
        self.trial = 0  # an image in a test boot
        self.pending = 0  # an image that the next boot tries
        self.permanent = False

    @precondition(lambda self: not self.pending and not self.trial)
    @rule(size=st.integers(32, 12000), permanent=st.booleans())
    def update(self, size: int, permanent: bool) -> None:
        version, self.next_version = self.next_version, self.next_version % 250 + 1
        self.device.put(1, make_image(version, size))
        self.device.loader.set_pending(permanent=permanent)
        self.pending, self.permanent = version, permanent

    @precondition(lambda self: self.trial)
    @rule()
    def confirm(self) -> None:
        self.device.loader.confirm()
        self.good, self.trial = self.trial, 0

    @rule(cuts=cuts)
    def reset(self, cuts: list[PowerCut]) -> None:
        self.device.boot(*cuts)
        running = self.device.version(0)
        if self.pending and self.permanent:
            assert running == self.pending
            self.good = self.pending
        elif self.pending and running == self.pending:
            self.trial = self.pending
        else:
            # A trial ends at the next boot, and a cut may have used that boot up already.
            assert running == self.good
            self.trial = 0
        self.pending = 0

    @invariant()
    def the_last_good_image_is_there(self) -> None:
        if hasattr(self, "device"):
            assert self.good in {self.device.version(0), self.device.version(1)}

    @invariant()
    def only_a_trial_is_unconfirmed(self) -> None:
        if hasattr(self, "device") and not self.pending:
            assert self.device.loader.is_confirmed() == (not self.trial)


TestSwapMachine = SwapMachine.TestCase
TestSwapMachine.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("erase"), st.integers(0, 7), st.just(b"")),
            st.tuples(
                st.just("program"), st.integers(0, 1900), st.binary(min_size=4, max_size=700)
            ),
        ),
        max_size=20,
    ),
)
def test_a_file_holds_the_same_bits_as_memory(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("flash") / "chip"
    file = FileStorage(path, 8192)
    chips = [
        Flash(MemoryStorage(8192, block_size=512), sector_size=1024),
        Flash(file, sector_size=1024),
    ]
    for chip in chips:
        for kind, position, data in operations:
            if kind == "erase":
                chip.erase(position * 1024, 1024)
            else:
                data = data[: len(data) // 4 * 4]
                chip.program(min(position * 4, 8192 - len(data)) // 4 * 4, data)
    assert chips[0].read(0, 8192) == chips[1].read(0, 8192)
    file.close()
    assert Flash(FileStorage(path, 8192), sector_size=1024).read(0, 8192) == chips[0].read(0, 8192)
