"""A simulated controller goes through updates, hangs, leases and faults as a real one does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cryofw.simulator import (
    STAGE_METRIC,
    BootloaderConfig,
    CorruptBytes,
    CutPower,
    DelayBytes,
    DropBytes,
    DuplicateBytes,
    FillBuffers,
    Hang,
    LoopBoots,
    LoseHeartbeats,
    Mode,
    PullCable,
    Ram,
    ResetCause,
    ShiftCalibration,
    SlowErase,
)
from cryofw.smp import CryoCode, Op

Bench = Any  # conftest's; test directories are no packages, so it cannot be imported


def test_test_boot_reverts_at_the_next_reset(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.test_boot(bench.image("1.1.0"))
    assert bench.state() == ["1.1.0*", "1.0.0"]

    bench.reset()

    assert bench.state() == ["1.0.0", "1.1.0"]


def test_confirmed_image_stays(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.test_boot(bench.image("1.1.0"))
    bench.write(1, 0, confirm=True)

    bench.controller.power_cycle()
    bench.timers.advance(5)

    assert bench.state() == ["1.1.0", "1.0.0"]
    assert bench.read(64, 0)["rst"] == ResetCause.POWER_ON


def test_application_answers_until_the_reset_comes(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    boot = bench.read(64, 0)["boot"]
    bench.write(0, 5)
    assert bench.read(64, 0)["boot"] == boot  # 100 ms later
    bench.timers.advance(3)
    assert bench.read(64, 0)["boot"] != boot
    assert bench.read(64, 0)["rst"] == ResetCause.SOFTWARE


def test_polling_in_the_dfu_window_traps_and_the_way_out_reverts(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    new = bench.image("1.1.0")
    bench.upload(new)
    bench.mark(new)
    bench.write(0, 5)
    bench.timers.advance(0.3)

    assert bench.read(0, 0, d="up?") == {"r": "up?"}  # the echo proves nothing
    bench.timers.advance(60)
    assert bench.controller.ram.mode is Mode.RECOVERY
    assert bench.read(0, 6) == {"rc": 8}
    assert "splitStatus" not in bench.read(1, 0)

    bench.reset()
    assert bench.state() == ["1.0.0", "1.1.0"]


def test_requests_while_the_application_starts_are_lost(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.write(0, 5)
    bench.timers.advance(0.15 + 0.5 + 0.05)
    assert bench.ask(Op.READ, 64, 0, wait_s=0.01) is None
    bench.timers.advance(1)
    assert bench.read(64, 0)["up"] < 1500


def test_image_of_another_key_is_erased_at_boot(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    forged = bytearray(bench.image("6.6.6"))
    forged[40] ^= 1

    assert bench.upload(bytes(forged))["match"] is True
    bench.mark(bytes(forged))
    bench.reset()

    assert bench.state() == ["1.0.0"]
    assert any("secondary slot is not valid" in line for line in bench.log)


def test_software_downgrade_prevention_destroys_the_old_image(bench: Bench) -> None:
    bench.build(bench.image("2.0.0"), bootloader=BootloaderConfig(downgrade_prevention=True))
    bench.test_boot(bench.image("1.0.0"))
    assert bench.state() == ["2.0.0"]


def test_hardware_counter_rises_after_confirm_and_one_more_boot(bench: Bench) -> None:
    old, new = bench.image("1.0.0", counter=1), bench.image("2.0.0", counter=2)
    bench.build(old, bootloader=BootloaderConfig(hardware_counter=True))
    bench.test_boot(new)
    bench.reset()
    assert bench.state() == ["1.0.0", "2.0.0"]  # a revert in the test window is safe

    bench.mark(new)
    bench.reset()
    bench.write(1, 0, confirm=True)
    assert bench.controller.ram.security_counter == 1
    bench.reset()
    assert bench.controller.ram.security_counter == 2

    bench.mark(old)
    bench.reset()
    assert bench.state() == ["2.0.0"]  # the last good image can no longer boot


def test_hang_with_watchdog_reverts_by_itself(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.test_boot(bench.image("1.1.0", hang_s=0))
    assert bench.ask(Op.READ, 0, 0, {"d": "?"}) is None
    bench.timers.advance(bench.spec.watchdog_s + 3)
    assert bench.state() == ["1.0.0", "1.1.0"]
    assert bench.read(64, 0)["rst"] == ResetCause.WATCHDOG


@pytest.mark.parametrize("watchdog_on_board", [True, False])
def test_hang_without_watchdog_needs_a_power_cycle(bench: Bench, watchdog_on_board: bool) -> None:
    bench.build(bench.image("1.0.0"), watchdog=watchdog_on_board)
    bench.test_boot(bench.image("1.1.0", hang_s=30, wdt=not watchdog_on_board))
    assert bench.state() == ["1.1.0*", "1.0.0"]
    bench.timers.advance(3600)
    assert bench.ask(Op.READ, 0, 0, {"d": "?"}) is None
    bench.controller.power_cycle()
    bench.timers.advance(3)
    assert bench.state() == ["1.0.0", "1.1.0"]


def test_boot_loop_of_a_test_image_reverts(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    boots = bench.controller.ram.boots
    bench.test_boot(bench.image("1.1.0", bootloop=3))
    bench.timers.advance(3)
    assert bench.state() == ["1.0.0", "1.1.0"]
    assert bench.controller.ram.boots == boots + 2
    assert bench.read(64, 0)["rst"] == ResetCause.CPU_LOCKUP


def test_lease_fences_older_tokens_and_other_links(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    mine = {"owner": "anna@lab", "rollout": "r-1", "token": 5, "ttl": 60}
    assert bench.write(64, 5, session=1, **mine) == mine
    assert bench.write(64, 3, session=1) == {"safe": True}

    older = bench.write(64, 5, session=1, **mine | {"token": 4})
    other = bench.write(64, 5, session=2, **mine | {"rollout": "r-2"})
    stray = bench.write(0, 5, session=2)
    stale = bench.write(64, 3, session=1, token=4)

    assert older == {"err": {"group": 64, "rc": CryoCode.OLD_TOKEN}}
    assert other == stray == {"err": {"group": 64, "rc": CryoCode.LEASE_HELD}}
    assert stale == older
    assert bench.write(64, 3, session=2, token=5) == {"safe": True}
    assert bench.write(64, 5, session=2, **mine | {"rollout": "r-2", "token": 6})["token"] == 6
    assert bench.write(64, 3, session=1) == other


def test_lease_given_back_or_run_out_frees_the_device(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    mine = {"owner": "anna@lab", "rollout": "r-1", "token": 5, "ttl": 60}
    bench.write(64, 5, session=1, **mine)
    bench.timers.advance(10)
    assert bench.read(64, 5)["ttl"] == 50
    bench.write(64, 5, session=1, **mine | {"ttl": 0})
    assert bench.read(64, 5) == {"owner": "", "rollout": "", "token": 5, "ttl": 0}
    assert bench.write(64, 3, session=2) == {"safe": True}

    bench.write(64, 5, session=1, **mine)
    boot = bench.read(64, 0)["boot"]
    bench.timers.advance(61)
    assert bench.write(64, 3, session=2) == {"safe": True}
    assert bench.read(64, 0)["boot"] == boot  # no test boot, no reset


def test_lease_that_runs_out_in_a_test_boot_reverts(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.write(64, 5, owner="anna@lab", rollout="r-1", token=1, ttl=30)
    bench.test_boot(bench.image("1.1.0"))
    assert bench.state() == ["1.1.0*", "1.0.0"]
    assert bench.read(64, 5)["ttl"] > 20  # a reset keeps the lease
    bench.timers.advance(40)
    assert bench.state() == ["1.0.0", "1.1.0"]
    assert bench.read(64, 0)["rst"] == ResetCause.LEASE


def test_lease_that_runs_out_while_the_bootloader_holds_the_device(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    new = bench.image("1.1.0")
    bench.upload(new)
    bench.write(64, 5, owner="anna@lab", rollout="r-1", token=1, ttl=1)
    bench.mark(new)
    bench.timers.advance(2)  # marked, not reset: the lease runs out before the test boot
    bench.reset(5)
    assert bench.state() == ["1.0.0", "1.1.0"]


def test_calibration_run_takes_time_and_gives_means(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    assert bench.write(64, 2, id=7) == {"id": 7}
    assert bench.read(64, 2) == {"id": 7, "done": False, "m": {}}
    assert bench.write(64, 2, id=8) == {"err": {"group": 64, "rc": CryoCode.BUSY}}
    bench.timers.advance(bench.spec.calibration_s)
    done = bench.read(64, 2)
    assert done["done"] is True
    assert done["m"].keys() == bench.spec.metrics.keys()
    assert abs(done["m"]["readout_snr"] - 24) < 2


def test_shift_of_a_firmware_shows_after_a_while(bench: Bench) -> None:
    shift = {"metric": "readout_snr", "by": -5.0, "after_s": 1200, "ramp_s": 300}
    bench.build(bench.image("1.0.0"))
    bench.test_boot(bench.image("1.1.0", shift=shift))
    before = bench.read(64, 1)["m"]["readout_snr"]
    bench.timers.advance(1100)
    assert abs(bench.read(64, 1)["m"]["readout_snr"] - before) < 1.5
    bench.timers.advance(600)
    assert bench.read(64, 1, names=["readout_snr"])["m"]["readout_snr"] < before - 3.5


def test_flashing_warms_the_stage(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    cold = bench.read(64, 1)["m"][STAGE_METRIC]
    bench.upload(bench.image("1.1.0"))
    warm = bench.read(64, 1)["m"][STAGE_METRIC]
    bench.timers.advance(3600)
    assert warm > cold == bench.read(64, 1)["m"][STAGE_METRIC]


def test_upload_goes_on_in_another_process(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    image = bench.image("1.1.0")
    bench.write(1, 1, off=0, data=image[:300], len=len(image), sha=b"any")
    bench.write(1, 1, off=300, data=image[300:600])
    boot = bench.read(64, 0)["boot"]

    bench.controller.detach()
    bench.attach(Ram.from_json(bench.saved))
    bench.controller.resume()

    assert bench.read(64, 0)["boot"] == boot
    assert bench.write(1, 1, off=0, data=image[:300], len=len(image), sha=b"any") == {"off": 600}
    for offset in range(600, len(image), 250):
        bench.write(1, 1, off=offset, data=image[offset : offset + 250])
    assert bench.state() == ["1.0.0", "1.1.0"]


class ProcessKilled(Exception):
    """Stands for kill -9 at a certain write to the chip's file."""


@pytest.mark.parametrize("confirm", [False, True])
@pytest.mark.parametrize("revert", [False, True])
def test_process_killed_at_any_write_of_a_boot(bench: Bench, confirm: bool, revert: bool) -> None:
    """The device itself was not disturbed, so it ends where it would have ended."""
    old, new = bench.image("1.0.0"), bench.image("1.1.0")
    bench.build(old)
    if revert:
        bench.test_boot(new)
    else:
        bench.upload(new)
        bench.mark(new, confirm=confirm)
    expected = ["1.0.0", "1.1.0"] if revert else ["1.1.0" + "*" * (not confirm), "1.0.0"]
    start, ram = bench.storage.copy(), bench.saved
    for writes in itertools.count():
        bench.controller.detach()
        bench.storage = start.copy()
        bench.attach(Ram.from_json(ram))
        bench.controller.resume()
        write, left = bench.storage.write, iter(range(writes))

        def counted(offset: int, data: bytes, write: Any = write, left: Any = left) -> None:
            if next(left, None) is None:
                raise ProcessKilled
            write(offset, data)

        bench.storage.write = counted
        try:
            bench.reset()
        except ProcessKilled:
            bench.storage.write = write
            bench.attach(Ram.from_json(bench.saved))
            bench.controller.resume()
            bench.timers.advance(3)
            assert bench.state() == expected, writes
        else:
            assert bench.state() == expected
            break
    assert writes > 10


def test_power_cut_in_an_upload(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    image = bench.image("1.1.0")
    bench.controller.inject(CutPower(after_operations=1, off_s=5))
    body = {"off": 0, "data": image[:300], "len": len(image)}
    answers = [bench.write(1, 1, **body)]
    while answers[-1] is not None:
        offset = answers[-1]["off"]
        answers.append(
            bench.ask(Op.WRITE, 1, 1, {"off": offset, "data": image[offset : offset + 300]})
        )
    assert bench.ask(Op.READ, 0, 0, {"d": "?"}) is None
    bench.timers.advance(8)
    assert bench.state() == ["1.0.0"]
    bench.upload(image)
    assert bench.state() == ["1.0.0", "1.1.0"]


def test_power_cut_in_a_swap_resumes_it(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    new = bench.image("1.1.0")
    bench.upload(new)
    bench.mark(new)
    bench.controller.inject(CutPower(after_operations=9, off_s=2))
    bench.reset(10)
    assert bench.state() == ["1.1.0*", "1.0.0"]
    assert any("Boot source: primary slot" in line for line in bench.log)


def test_faults_of_the_application(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.controller.inject(LoseHeartbeats(for_s=10))
    assert bench.ask(Op.READ, 64, 0) is None
    assert bench.read(0, 0, d="x") == {"r": "x"}
    bench.timers.advance(10)
    assert bench.read(64, 0)["seq"] > 0

    before = bench.read(64, 1)["m"]["adc_enob"]
    bench.controller.inject(ShiftCalibration("adc_enob", -3.0))
    assert bench.read(64, 1)["m"]["adc_enob"] < before - 2

    boots = bench.controller.ram.boots
    bench.controller.inject(LoopBoots(2))
    bench.reset(10)
    assert bench.controller.ram.boots == boots + 3

    bench.controller.inject(Hang(watchdog=False))
    assert bench.ask(Op.READ, 0, 0, {"d": "?"}) is None


def test_faults_of_the_line(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    for fault in (CorruptBytes(1.0, 5), DropBytes(1.0, 5)):
        bench.controller.inject(fault)
        assert bench.ask(Op.READ, 64, 0) is None
        bench.timers.advance(10)
        assert bench.read(64, 0)["seq"] > 0
    bench.controller.inject(DelayBytes(1.0, 3, 5))
    assert bench.ask(Op.READ, 64, 0) is None
    bench.timers.advance(10)
    bench.controller.inject(FillBuffers(for_s=5))
    assert bench.ask(Op.READ, 0, 0, {"d": "x" * 200}) is None
    assert bench.read(0, 0, d="x") == {"r": "x"}
    bench.timers.advance(10)
    bench.controller.inject(PullCable(5))
    assert bench.ask(Op.READ, 64, 0) is None
    bench.timers.advance(10)
    assert bench.read(64, 0)["seq"] > 0


def test_duplicated_frames_are_answered_twice(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    seen: list[bytes] = []
    bench.controller.line._deliver = seen.append
    bench.controller.inject(DuplicateBytes(1.0, 5))
    bench.ask(Op.READ, 64, 0)
    answer = seen[0]
    assert answer[: len(answer) // 2] == answer[len(answer) // 2 :]


def test_slow_erase_delays_the_first_answer(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    image = bench.image("1.1.0")
    bench.upload(image)
    bench.controller.inject(SlowErase(factor=10_000))
    other = bench.image("1.2.0")
    assert bench.ask(Op.WRITE, 1, 1, {"off": 0, "len": len(other), "data": other[:200]}) is None
    bench.timers.advance(30)
    assert [one.body for one in bench.received] == []  # forgotten by the client
    assert bench.write(1, 1, off=200, data=other[200:400]) == {"off": 400}


def test_bytes_take_their_time(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"), paced=True)
    bench.controller.line.set_baud(1200)
    assert bench.ask(Op.READ, 64, 0, wait_s=0.3) is None
    assert bench.ask(Op.READ, 64, 0, wait_s=3) is not None


def test_firmware_that_drops_heartbeats(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    bench.test_boot(bench.image("1.1.0", drop_beats=0.5))
    beats = [bench.ask(Op.READ, 64, 0) for _ in range(60)]
    assert 10 < beats.count(None) < 50
    assert bench.read(0, 0, d="x") == {"r": "x"}


@pytest.mark.parametrize(
    ("op", "command", "body"),
    [
        (Op.READ, 1, {"names": "snr"}),
        (Op.WRITE, 2, {}),
        (Op.WRITE, 2, {"id": -1}),
        (Op.WRITE, 5, {"owner": "anna@lab", "rollout": "r-1", "token": 1}),
        (Op.WRITE, 5, {"owner": "anna@lab", "rollout": "r-1", "token": "1", "ttl": 5}),
    ],
)
def test_malformed_requests_of_group_64(
    bench: Bench, op: Op, command: int, body: dict[str, Any]
) -> None:
    bench.build(bench.image("1.0.0"))
    assert bench.ask(op, 64, command, body) == {"rc": 3}


def test_unknown_metrics_are_left_out(bench: Bench) -> None:
    bench.build(bench.image("1.0.0"))
    assert bench.read(64, 1, names=["adc_enob", "colour"])["m"].keys() == {"adc_enob"}
