"""Every code that a device may answer is explained."""

import pytest

from cryofw.device import RequestFailed
from cryofw.device.rejection import rejection, unsupported
from cryofw.smp import CryoCode, Group, ImageCode, MgmtCode, SmpStatus


@pytest.mark.parametrize(
    ("group", "rc"),
    [(Group.IMAGE, code) for code in ImageCode]
    + [(Group.CRYO, code) for code in CryoCode]
    + [(None, code) for code in MgmtCode]
    + [(99, 7)],
)
def test_each_code_has_words_and_its_number(group: int | None, rc: int) -> None:
    error = rejection("c1-a", "take the image", SmpStatus(group, rc, "no room"))
    assert isinstance(error, RequestFailed)
    assert error.what == "c1-a refused to take the image"
    assert error.hint
    assert "no room" in error.why
    assert str(int(rc)) in error.why
    assert (error.group, error.rc, error.reason) == (group, rc, "no room")


def test_pending_is_said_in_words() -> None:
    error = rejection("c1-a", "mark the image for test", SmpStatus(1, 28))
    assert "pending already" in error.why
    assert "IMAGE_ALREADY_PENDING" in error.why


def test_unsupported_is_the_general_code_only() -> None:
    assert unsupported(SmpStatus(None, MgmtCode.NOT_SUPPORTED))
    assert not unsupported(SmpStatus(1, 8))
    assert not unsupported(None)
