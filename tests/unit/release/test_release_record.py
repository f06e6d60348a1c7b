"""Records and ranges of versions: what is signed is still only bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.errors import BadInput
from cryofw.release import ReleaseInvalid, ReleaseRecord, ReleaseRefused
from cryofw.release.record import Attachment, Revocation, record_from_custom
from cryofw.release.role import is_product
from cryofw.release.version_range import VersionRange

HASH = "ab" * 32


def record(**fields: Any) -> ReleaseRecord:
    return ReleaseRecord(**{"product": "cc40", "version": "2.1.0", "number": 7, "hash": HASH,
                            "security_counter": None, **fields})  # fmt: skip


@pytest.mark.parametrize(
    "made",
    [
        record(),
        record(security_counter=0),
        record(version="2.1.0+5", host=">=0.1, <2", commit="abc", why="ADC, 2 % faster"),
        record(
            released="2026-11-20T21:00:00Z",
            by="rita",
            rolls_back="2.2.0",
            checkpoint="note\n",
            sbom=Attachment("cc40/2.1.0.sbom.json", HASH),
            provenance=Attachment("cc40/2.1.0.provenance.json", HASH),
            revoked=Revocation("rita", "2026-11-21T21:00:00Z", "drifts"),
        ),
    ],
)
def test_a_record_comes_back_as_it_was_written(made: ReleaseRecord) -> None:
    assert record_from_custom(made.path, made.to_custom()) == made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "2.2.0"}, "its record is that of"),
        ({"version": "2.1"}, "its record is that of"),
        ({"version": "../2"}, "not a version"),
        ({"version": ""}, "version is no text"),
        ({"product": "cc41"}, "its record is that of"),
        ({"product": "root"}, "cannot be a product"),
        ({"product": "CC40"}, "cannot be a product"),
        ({"number": 0}, "number of 32 bits"),
        ({"number": True}, "number of 32 bits"),
        ({"number": "7"}, "number of 32 bits"),
        ({"number": 1 << 32}, "number of 32 bits"),
        ({"hash": "AB" * 32}, "hex SHA-256"),
        ({"hash": "../" + "a" * 61}, "hex SHA-256"),
        ({"security_counter": -1}, "security_counter"),
        ({"security_counter": 1.5}, "security_counter"),
        ({"host": "new"}, "no range"),
        ({"why": "x" * 5000}, "at most 4096"),
        ({"why": 5}, "why is no text"),
        ({"released": "yesterday"}, "no time"),
        ({"sbom": {"path": "cc41/x.json", "sha256": HASH}}, "another product"),
        ({"sbom": "cc40/x.json"}, "sbom is no object"),
        ({"revoked": True}, "revocation is no object"),
        ({"revoked": {"by": "x", "at": "y"}}, "why is no text"),
        ({"schema": "other"}, "its schema"),
        ({"schema": 1}, "its schema"),
    ],
)
def test_a_record_that_is_not_what_it_should_be_is_refused(
    change: dict[str, Any], says: str
) -> None:
    custom = record().to_custom() | change

    with pytest.raises(ReleaseInvalid, match=says):
        record_from_custom("cc40/2.1.0.bin", custom)


def test_a_newer_schema_is_refused_and_not_called_invalid() -> None:
    with pytest.raises(ReleaseRefused, match="another version of cryofw"):
        record_from_custom("cc40/2.1.0.bin", {"schema": "cryofw.release/v2"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


_OPTIONAL = ("sbom", "revoked", "host", "from_versions", "new")


@given(st.sampled_from([*record().to_custom(), *_OPTIONAL]), json_values)
def test_whatever_stands_in_a_record_it_is_read_or_refused(name: str, value: object) -> None:
    custom = record().to_custom() | {name: value}
    try:
        read = record_from_custom("cc40/2.1.0.bin", custom)
    except (ReleaseInvalid, ReleaseRefused):
        return
    assert read.name == "cc40/2.1.0"


@given(json_values)
def test_whatever_a_record_is_it_is_refused(value: object) -> None:
    with pytest.raises((ReleaseInvalid, ReleaseRefused)):
        record_from_custom("cc40/2.1.0.bin", value)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("", ["0.1", "9"], []),
        (">=0.1", ["0.1", "0.1.0", "0.2.0.dev1", "1"], ["0.0.9"]),
        (">=0.1, <2", ["0.1", "1.99.99"], ["2", "2.0.0", "0.0.1"]),
        ("==1.2", ["1.2", "1.2.0"], ["1.2.1"]),
        ("!=1.2.3,>1", ["1.2.4"], ["1.2.3", "1", "1.0.0"]),
        ("<=1.10", ["1.9", "1.10"], ["1.11"]),
    ],
)
def test_a_range_holds_what_every_term_allows(
    text: str, inside: list[str], outside: list[str]
) -> None:
    allowed = VersionRange.parse(text)
    assert [v for v in inside if not allowed.has(v)] == []
    assert [v for v in outside if allowed.has(v)] == []


@pytest.mark.parametrize("text", ["1.0", ">=", ">=1.x", "~=1.0", ">=1 <2", ">=1..2", "=>1"])
def test_what_is_no_range_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="no range of versions"):
        VersionRange.parse(text)


@pytest.mark.parametrize("name", ["cc40", "nucleo_f411re", "a", "board-2", "cc40.rev_b", "x" * 60])
def test_boards_can_be_products(name: str) -> None:
    assert is_product(name)


@pytest.mark.parametrize(
    "name",
    ["", "root", "timestamp", "online", "latest", "..", "a..b", ".a", "a.", "a/b", "A", "a b",
     "a\n", "ä", "1.root/", "x" * 200],
)  # fmt: skip
def test_what_could_lead_out_of_a_directory_is_no_product(name: str) -> None:
    assert not is_product(name)
