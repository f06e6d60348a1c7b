from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import pytest

from cryofw.smp import MessageError, Op, Request, messages, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

HASH = bytes(range(32))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (messages.echo("hi"), (Op.WRITE, 0, 0, {"d": "hi"})),
        (messages.read_parameters(), (Op.READ, 0, 6, {})),
        (messages.read_bootloader_info(), (Op.READ, 0, 8, {})),
        (messages.read_bootloader_info("mode"), (Op.READ, 0, 8, {"query": "mode"})),
        (messages.reset(), (Op.WRITE, 0, 5, {})),
        (messages.reset(force=True), (Op.WRITE, 0, 5, {"force": 1})),
        (messages.read_app_info("i"), (Op.READ, 0, 7, {"format": "i"})),
        (messages.read_image_state(), (Op.READ, 1, 0, {})),
        (messages.mark_for_test(HASH), (Op.WRITE, 1, 0, {"hash": HASH, "confirm": False})),
        (messages.confirm_image(), (Op.WRITE, 1, 0, {"confirm": True})),
        (messages.confirm_image(HASH), (Op.WRITE, 1, 0, {"hash": HASH, "confirm": True})),
        (messages.erase_slot(), (Op.WRITE, 1, 5, {})),
        (messages.erase_slot(1), (Op.WRITE, 1, 5, {"slot": 1})),
        (messages.read_slot_info(), (Op.READ, 1, 6, {})),
        (messages.upload_chunk(9, b"x"), (Op.WRITE, 1, 1, {"off": 9, "data": b"x"})),
        (messages.read_setting("cal/gain"), (Op.READ, 3, 0, {"name": "cal/gain"})),
        (
            messages.write_setting("cal/gain", b"\x01"),
            (Op.WRITE, 3, 0, {"name": "cal/gain", "val": b"\x01"}),
        ),
        (messages.delete_setting("cal/gain"), (Op.WRITE, 3, 1, {"name": "cal/gain"})),
        (messages.commit_settings(), (Op.WRITE, 3, 2, {})),
        (messages.load_settings(), (Op.READ, 3, 3, {})),
        (messages.save_settings(), (Op.WRITE, 3, 3, {})),
        (messages.read_heartbeat(), (Op.READ, 64, 0, {})),
        (messages.read_metrics(), (Op.READ, 64, 1, {})),
        (messages.read_metrics(("a", "b")), (Op.READ, 64, 1, {"names": ["a", "b"]})),
        (messages.start_calibration(7), (Op.WRITE, 64, 2, {"id": 7})),
        (messages.read_calibration(), (Op.READ, 64, 2, {})),
        (messages.enter_safe_state(), (Op.WRITE, 64, 3, {})),
        (messages.read_safe_state(), (Op.READ, 64, 3, {})),
        (messages.read_identity(), (Op.READ, 64, 4, {})),
        (messages.read_lease(), (Op.READ, 64, 5, {})),
        (
            messages.write_lease("h", "r-1", 3, 60),
            (Op.WRITE, 64, 5, {"owner": "h", "rollout": "r-1", "token": 3, "ttl": 60}),
        ),
        (
            messages.release_lease("h", "r-1", 3),
            (Op.WRITE, 64, 5, {"owner": "h", "rollout": "r-1", "token": 3, "ttl": 0}),
        ),
    ],
)
def test_requests(request_: Request, expected: tuple[Op, int, int, dict[str, object]]) -> None:
    assert (request_.op, request_.group, request_.command, dict(request_.body)) == expected


def test_os_answers() -> None:
    assert messages.EchoAnswer.from_body({"r": ""}).text == ""
    parameters = messages.ServerParameters.from_body({"buf_size": 384, "buf_count": 4, "x": 1})
    assert (parameters.buf_size, parameters.buf_count, parameters.max_packet) == (384, 4, 380)
    assert messages.AppInfo.from_body({"output": "mps2_an385"}).output == "mps2_an385"


def test_bootloader_info() -> None:
    info = messages.BootloaderInfo.from_body({"bootloader": "MCUboot"})
    assert (info.name, info.mode, info.no_downgrade) == ("MCUboot", None, False)
    info = messages.BootloaderInfo.from_body({"mode": 3, "no-downgrade": True, "new": 1})
    assert info.mode == messages.BootloaderMode.SWAP_WITHOUT_SCRATCH
    assert info.no_downgrade
    assert info.unknown == {"new": 1}
    assert messages.BootloaderInfo.from_body({"mode": 99}).mode == 99
    assert messages.BootloaderInfo.from_body({"mode": -1}).mode is None


def test_image_state_of_an_application_and_of_recovery() -> None:
    application = messages.ImageState.from_body(
        {
            "images": [
                {"slot": 0, "version": "2.0.0.7", "hash": HASH, "active": True, "pending": False},
                {"slot": 1, "image": 2, "permanent": True, "compressed": False},
            ],
            "splitStatus": 0,
        }
    )
    first, second = application.slots
    assert (first.image, first.slot, first.version, first.hash) == (0, 0, "2.0.0.7", HASH)
    assert (first.active, first.pending, first.confirmed) == (True, False, False)
    assert (second.image, second.permanent, second.hash) == (2, True, b"")
    assert second.unknown == {"compressed": False}
    assert application.split_status == 0
    assert messages.ImageState.from_body({"images": [], "rc": 0}).split_status is None


def test_upload_answer() -> None:
    answer = messages.UploadAnswer.from_body({"rc": 0, "off": 1684})
    assert (answer.off, answer.match, answer.unknown) == (1684, None, {})
    assert messages.UploadAnswer.from_body({"off": 9, "match": False}).match is False


def test_slot_info() -> None:
    slots = messages.SlotInfo.list_from_body(
        {
            "images": [
                {
                    "image": 0,
                    "slots": [
                        {"slot": 0, "size": 524288},
                        {"slot": 1, "size": 524288, "upload_image_id": 1},
                    ],
                    "max_image_size": 520000,
                },
                {"image": 1, "slots": [{"slot": 0, "rc": 5}]},
            ]
        }
    )
    assert [(item.image, item.slot, item.size) for item in slots] == [
        (0, 0, 524288),
        (0, 1, 524288),
        (1, 0, None),
    ]
    assert slots[1].upload_image_id == 1
    assert [item.max_image_size for item in slots] == [520000, 520000, None]


def test_a_setting() -> None:
    setting = messages.SettingValue.from_body({"val": b"\x00\x01"})
    assert (setting.value, setting.max_size) == (b"\x00\x01", None)
    assert messages.SettingValue.from_body({"val": b"", "max_size": 32}).max_size == 32


def test_a_setting_is_no_guess() -> None:
    with pytest.raises(MessageError, match='"val"'):
        messages.SettingValue.from_body({})
    with pytest.raises(MessageError, match='"val"'):
        messages.SettingValue.from_body({"val": "1.0"})


def test_settings_refusals_have_names() -> None:
    status = status_of({"err": {"group": 3, "rc": 5}})
    assert str(status) == "group 3 ROOT_KEY_NOT_FOUND (5)"


def test_cryo_answers() -> None:
    beat = messages.Heartbeat.from_body(
        {"seq": 5, "up": 1200, "boot": 0xDEADBEEF, "rst": 1, "img": HASH, "temp": 4}
    )
    assert (beat.seq, beat.up_ms, beat.boot_id) == (5, 1200, 0xDEADBEEF)
    assert (beat.reset_cause, beat.image_hash, beat.unknown) == (1, HASH, {"temp": 4})
    run = messages.Calibration.from_body({"id": 3, "done": True, "m": {"readout_snr": 24}})
    assert (run.run_id, run.done, run.values) == (3, True, {"readout_snr": 24.0})
    assert messages.SafeState.from_body({"safe": True}).safe
    assert not messages.SafeState.from_body({}).safe
    who = messages.ControllerIdentity.from_body({"hw": b"\x5a", "board": "cc40", "wdt": True})
    assert (who.hardware_id, who.board, who.serial_number, who.watchdog) == (
        *(b"\x5a", "cc40", ""),
        True,
    )
    assert messages.ControllerIdentity.from_body({"board": "cc40"}).watchdog is None
    lease = messages.Lease.from_body({"owner": "h", "rollout": "r", "token": 3, "ttl": 9})
    assert lease == messages.Lease("h", "r", 3, 9)
    assert messages.Lease.from_body({}) == messages.Lease("", "", 0, 0)


def test_a_metric_without_a_number_is_unknown_not_missing() -> None:
    metrics = messages.Metrics.from_body(
        {"t": 9, "m": {"a": 1, "b": None, "c": "x", "d": True, "e": 10**400}}
    )
    assert metrics.values["a"] == 1.0
    assert [isnan(metrics.values[name]) for name in "bcde"] == [True] * 4


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (messages.EchoAnswer.from_body, {"r": 1}),
        (messages.ServerParameters.from_body, {"buf_size": 384}),
        (messages.ServerParameters.from_body, {"buf_size": -1, "buf_count": 1}),
        (messages.ServerParameters.from_body, {"buf_size": True, "buf_count": 1}),
        (messages.BootloaderInfo.from_body, {"mode": "swap"}),
        (messages.BootloaderInfo.from_body, {"mode": -2}),
        (messages.ImageState.from_body, {}),
        (messages.ImageState.from_body, {"images": [1]}),
        (messages.ImageState.from_body, {"images": [{"version": "1.0.0"}]}),
        (messages.ImageState.from_body, {"images": [{"slot": 0, "active": 1}]}),
        (messages.ImageState.from_body, {"images": [{"slot": 0, "hash": "ab"}]}),
        (messages.UploadAnswer.from_body, {}),
        (messages.UploadAnswer.from_body, {"off": -4}),
        (messages.UploadAnswer.from_body, {"off": 4, "match": "yes"}),
        (messages.SlotInfo.list_from_body, {"images": [{"image": 0}]}),
        (messages.Heartbeat.from_body, {"seq": 1, "up": 2}),
        (messages.Metrics.from_body, {"t": 1, "m": [1]}),
        (messages.Calibration.from_body, {"done": True}),
        (messages.ControllerIdentity.from_body, {"hw": b"\x01"}),
        (messages.Lease.from_body, {"token": "3"}),
    ],
)
def test_an_unreadable_answer_names_the_field(
    read: Callable[[dict[str, object]], object], body: dict[str, object]
) -> None:
    with pytest.raises(MessageError, match="no readable"):
        read(body)
