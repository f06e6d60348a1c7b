from __future__ import annotations

import pytest

from cryofw.image import Dependency, ImageError, Version, parse_dependencies


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1.2.3+4", (1, 2, 3, 4)),
        ("1.2.3", (1, 2, 3, 0)),
        ("1.2", (1, 2, 0, 0)),
        ("7", (7, 0, 0, 0)),
        ("255.255.65535+4294967295", (255, 255, 65535, 4294967295)),
    ],
)
def test_reads_what_imgtool_reads(text: str, parts: tuple[int, int, int, int]) -> None:
    assert Version.parse(text) == Version(*parts)


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1.2.3", "1.2.3\n", "v1.2.3", "1.2.3-rc1", "01.2.3", "1..3", "1.2+3", "1.2.3+"),
        *("256.0.0", "0.256.0", "0.0.65536", "0.0.0+4294967296", "-1.0.0", "\u0661.2.3"),
        "1." + "9" * 5000,
    ],
)
def test_refuses_other_text(text: str) -> None:
    with pytest.raises(ImageError):
        Version.parse(text)


def test_smp_writes_the_build_number_as_a_fourth_part() -> None:
    assert Version.parse_smp("2.0.0.7") == Version(2, 0, 0, 7)
    assert Version.parse_smp("2.0.0") == Version(2, 0, 0)
    with pytest.raises(ImageError, match="not a version"):
        Version.parse_smp("2.0.0+7")


def test_text_leaves_out_a_zero_build() -> None:
    assert str(Version(1, 2, 3)) == "1.2.3"
    assert str(Version(1, 2, 3, 4)) == "1.2.3+4"


def test_order_is_by_number_not_by_text() -> None:
    versions = [Version.parse(text) for text in ("1.10.0", "1.9.0", "1.9.0+10", "1.9.0+9", "2")]
    assert [str(version) for version in sorted(versions)] == [
        *("1.9.0", "1.9.0+9", "1.9.0+10", "1.10.0", "2.0.0")
    ]


def test_dependencies_are_read_in_imgtool_form() -> None:
    assert parse_dependencies("(1, 2.0.0+7),(255,1.4)") == (
        Dependency(1, Version(2, 0, 0, 7)),
        Dependency(255, Version(1, 4)),
    )


@pytest.mark.parametrize(
    "text",
    ["", "1, 2.0.0", "(1)", "(1, 2.0.0", "(1, 2.0.0),", "(1,2)(2,3)", "(256, 1.0.0)", "(1, 1..0)"],
)
def test_refuses_other_dependencies(text: str) -> None:
    with pytest.raises(ImageError):
        parse_dependencies(text)
