from __future__ import annotations

import pytest

from cryofw.smp import ImageCode, MgmtCode, SmpStatus, status_of


@pytest.mark.parametrize("body", [{}, {"rc": 0}, {"off": 5, "rc": 0}, {"err": {"rc": 0}}])
def test_success(body: dict[str, object]) -> None:
    assert status_of(body) is None


@pytest.mark.parametrize(
    ("body", "status", "shown"),
    [
        ({"rc": 8}, SmpStatus(None, MgmtCode.NOT_SUPPORTED), "NOT_SUPPORTED (8)"),
        (
            {"rc": 3, "rsn": "header malformed"},
            SmpStatus(None, 3, "header malformed"),
            "INVALID_VALUE (3): header malformed",
        ),
        (
            {"err": {"group": 1, "rc": 28}},
            SmpStatus(1, ImageCode.IMAGE_ALREADY_PENDING),
            "group 1 IMAGE_ALREADY_PENDING (28)",
        ),
        ({"err": {"group": 0, "rc": 2}}, SmpStatus(0, 2), "group 0 INVALID_FORMAT (2)"),
        ({"err": {"group": 64, "rc": 4}}, SmpStatus(64, 4), "group 64 OLD_TOKEN (4)"),
        ({"err": {"group": 1, "rc": 999}}, SmpStatus(1, 999), "group 1 rc 999"),
        ({"err": {"group": 4711, "rc": 3}}, SmpStatus(4711, 3), "group 4711 rc 3"),
        ({"rc": 300}, SmpStatus(None, 300), "rc 300"),
        ({"rc": -5}, SmpStatus(None, -5), "rc -5"),
        ({"err": {"rc": 7}}, SmpStatus(None, 7), "MESSAGE_SIZE (7)"),
    ],
)
def test_refusals(body: dict[str, object], status: SmpStatus, shown: str) -> None:
    assert status_of(body) == status
    assert str(status) == shown


@pytest.mark.parametrize("body", [{"rc": "x"}, {"rc": None}, {"err": 5}, {"err": {"group": 1}}])
def test_what_cannot_be_read_is_not_a_success(body: dict[str, object]) -> None:
    status = status_of(body)
    assert status is not None
    assert status.rc == MgmtCode.UNKNOWN
    assert "unreadable" in status.reason
