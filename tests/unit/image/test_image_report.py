from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cryofw.image import (
    Algorithm,
    Dependency,
    ImageError,
    ImageOptions,
    ImageReport,
    Payload,
    PublicKey,
    Version,
    attach,
    build_image,
    inspect_image,
)

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]


def signed(keys: Keys, algorithm: Algorithm = Algorithm.ECDSA_P256, **changes: Any) -> bytes:
    key, sign = keys[algorithm]
    fields = {"version": Version(1, 2, 3, 4), "pad_header": True, **changes}
    unsigned = build_image(Payload(b"firmware"), ImageOptions(**fields))
    return attach(unsigned, key, sign(unsigned.to_sign(algorithm)))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_reports_the_fields(image_keys: Keys, algorithm: Algorithm) -> None:
    data = signed(
        image_keys,
        algorithm,
        security_counter=7,
        board="cc40",
        dependencies=(Dependency(1, Version(2)),),
    )
    report = inspect_image(data)
    assert (report.version, report.board, report.security_counter) == ("1.2.3+4", "cc40", 7)
    assert (report.dependencies, report.signature) == (("(1, 2.0.0)",), str(algorithm))
    assert (report.body_size, report.image_size, report.file_size) == (8, len(data), len(data))
    assert report.key_hash == image_keys[algorithm][0].key_hash.hex()
    assert (report.padding, report.hash_matches, report.findings) == ("none", True, ())
    assert [tlv.name for tlv in report.tlvs[:4]] == ["SEC_CNT", "DEPENDENCY", "BOARD", "SHA256"]
    assert json.loads(json.dumps(report.as_json()))["tlvs"][2]["value"] == b"cc40".hex()


def findings(data: bytes) -> str:
    report: ImageReport = inspect_image(data)
    assert report.findings
    return " ".join(report.findings)


def test_names_what_verification_would_refuse(image_keys: Keys) -> None:
    data = signed(image_keys)
    assert "damaged" in findings(data[:32] + b"F" + data[33:])
    assert "do not belong" in findings(data + b"\0")
    assert "encrypted" in findings(data[:16] + b"\x04" + data[17:])
    assert inspect_image(data + b"\0").padding == "foreign bytes"


@pytest.mark.parametrize("erased", [0, 0xFF])
def test_reports_padding(image_keys: Keys, erased: int) -> None:
    data = signed(image_keys, slot_size=4096, pad=True, erased_value=erased)
    report = inspect_image(data)
    assert (report.padding, report.findings) == ("slot", ())
    assert report.image_size < report.file_size == 4096


def test_reports_a_confirmed_image(image_keys: Keys) -> None:
    assert inspect_image(signed(image_keys, slot_size=4096, confirm=True)).padding == (
        "slot, confirmed"
    )


def test_refuses_what_is_no_image() -> None:
    with pytest.raises(ImageError, match="not an MCUboot image"):
        inspect_image(b"\x7fELF" + bytes(100))
