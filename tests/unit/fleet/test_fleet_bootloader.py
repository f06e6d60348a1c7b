"""What fleet.yaml says of bootloaders."""

from __future__ import annotations

import pytest

from cryofw.errors import BadInput
from cryofw.fleet import BootloaderSetting, parse_fleet
from cryofw.image import Compression

TEXT = """\
schema: cryofw.fleet/v1
lab: small
board: cc40
defaults:
  reset: watchdog
  DEFAULT
  thermal: {stage: 4k, capacity: 1.5 W, headroom: 80 %, flash: 60 mW, max_rise: 150 mK}
stages: [{name: rig, targets: [rig-1], soak: 10 min}]
cryostats:
  rig-1: {controllers: {a: {port: "sim://a"}, b: {port: "sim://b", bootloader: {OWN}}}}
"""


def of(own: str, default: str = "retries: {count: 1}") -> dict[str, BootloaderSetting]:
    text = TEXT.replace("DEFAULT", default).replace("OWN", own)
    return {c.name: c.bootloader for c in parse_fleet(text, "fleet.yaml").controllers}


@pytest.mark.parametrize(
    ("own", "setting"),
    [
        ("", BootloaderSetting()),
        ("mode: swap", BootloaderSetting(overwrites=False)),
        ("mode: overwrite-only", BootloaderSetting(overwrites=True)),
        ("compressed: lzma2", BootloaderSetting(True, Compression.LZMA2)),
        (
            "mode: overwrite-only, compressed: lzma2-arm-thumb",
            BootloaderSetting(True, Compression.LZMA2_ARM_THUMB),
        ),
    ],
)
def test_it_is_read(own: str, setting: BootloaderSetting) -> None:
    assert of(own) == {"a": BootloaderSetting(), "b": setting}


def test_defaults_hold_key_by_key() -> None:
    found = of("mode: overwrite-only", "bootloader: {compressed: lzma2}")
    assert set(found.values()) == {BootloaderSetting(True, Compression.LZMA2)}


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("mode: swap, compressed: lzma2", "does not unpack"),
        ("compressed: gzip", "lzma2"),
        ("mode: xip", "overwrite-only"),
    ],
)
def test_what_cannot_be_is_refused(own: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        of(own)
