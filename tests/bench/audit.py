"""How long the audit of a long journal takes: `python -m tests.bench.audit`.

Measured on one journal of a million records, about 230 bytes each, as rollouts over 500 devices
write them:

verify   `audit.verify_log`, whole: every line against tree and checkpoint, the checkpoint's
         signature, the form of every record, every rule on the order of records. Once with as many
         processes as there are cores, once with one. Plans, raw readings and images are evidence
         beside the journal, as large as a lab makes them, and not part of this.
prove    the proof that one record is in the journal, with its line, from the cache beside it.
append   one record, on disk, beside the same bytes with a bare write and fsync, turn by turn, and
         beside that with a signed checkpoint every 64 records.

Exit code 1 when a row misses its goal.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryofw.audit import LogTrust, verify_log
from cryofw.engine.virtual_time import StoppedClock
from cryofw.image import PublicKey
from cryofw.journal import CachedTree, Entry, FileStorage, Journal, TlogProof, read_signed_head
from cryofw.journal.merkle import inclusion_proof
from cryofw.journal.record import make_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NEW, OLD = "ab" * 32, "cd" * 32
DEVICES = 500
VERIFY_GOAL_S = 8.0
PROVE_GOAL_S = 0.010
APPEND_GOAL = 2.0
CLOCK = StoppedClock(datetime(2026, 11, 20, tzinfo=UTC))


class Key:
    """A journal key made for this run."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_key = PublicKey.from_pem(pem)

    def sign(self, message: bytes) -> bytes:
        """See `NoteSigner`."""
        return self._key.sign(message)


def rollout(number: int) -> Iterator[Entry]:
    """One rollout of a good release over all devices, as it is journaled."""
    name = f"r-{number:08x}"

    def entry(kind: str, device: str | None = None, **fields: object) -> Entry:
        return Entry(kind, name, device, fields)

    yield entry("rollout-started", plan="ef" * 32, release=NEW, version="1.1.0", by="anna@lab")
    yield entry("stage-started", stage="fleet", gate="", why="the first stage")
    yield entry("wave-started", stage="fleet", wave=1, of=1, devices=DEVICES)
    for index in range(DEVICES):
        yield from update(entry_of(name, f"c{index // 4}-{index % 4}"))
    yield entry("gate-passed", stage="fleet", why=f"{DEVICES} of {DEVICES} devices confirmed")
    yield entry("rollout-ended", outcome="confirmed", why="1.1.0 runs, proven good, everywhere")


def entry_of(rollout_name: str, device: str) -> Mapping[str, Entry]:
    """The records of one device's update, by kind."""
    baseline = {"readings": {"count": 20, "sha256": "12" * 32}}
    verdict = {"readings": {"count": 400, "sha256": "34" * 32}}
    why = "600 s in one boot, 300 heartbeats, 0 missed; readout_snr +0.02 dB, adc_enob -0.01 bit"
    rows: dict[str, dict[str, object]] = {
        "device-check-requested": {},
        "device-checked": {"hash": OLD, "version": "1.0.0"},
        "baseline-taken": {"baseline": {"readout_snr": 27.01, "adc_enob": 11.2}, **baseline},
        "image-upload-requested": {"hash": NEW, "running": OLD},
        "image-uploaded": {"hash": NEW, "sent_bytes": 262144, "duration_s": 31.25},
        "image-test-requested": {"hash": NEW, "running": OLD},
        "test-booted": {"hash": NEW, "t_s": 1000.5, "boot": 123456},
        "verdict-reached": {"outcome": "passed", "why": why, "numbers": {}, **verdict},
        "image-confirm-requested": {"hash": NEW, "boot": 123456},
        "image-confirmed": {"hash": NEW, "boot": 123456},
    }
    return {kind: Entry(kind, rollout_name, device, fields) for kind, fields in rows.items()}


def update(entries: Mapping[str, Entry]) -> Iterator[Entry]:
    """In their order."""
    yield from entries.values()


def write_journal(directory: Path, size: int, key: Key) -> None:
    """A signed journal of `size` records; whole rollouts, the last one cut."""
    with Journal.open(FileStorage(directory), clock=CLOCK, who="anna@lab", signer=key) as journal:
        number = 0
        while journal.size < size:
            entries = list(rollout(number))[: size - journal.size]
            journal.append_many(entries)
            number += 1


def verify(directory: Path, size: int, key: Key, processes: int) -> float:
    """Seconds for the whole verification."""
    began_s = time.perf_counter()
    report = verify_log(
        FileStorage(directory),
        trust=LogTrust({"journal": key.public_key}),
        evidence=False,
        processes=processes,
    )
    took_s = time.perf_counter() - began_s
    assert (report.records, report.anchored, report.signatures.signed) == (size, size, size)
    assert report.unknown_kinds == ()
    return took_s


def prove(directory: Path, size: int, key: Key) -> float:
    """Median seconds for one proof, everything read anew from the disk's cache."""
    storage = FileStorage(directory)
    times = []
    for n in random.Random(7).sample(range(size), 25):
        began_s = time.perf_counter()
        signed = read_signed_head(storage)
        assert signed is not None
        tree = CachedTree(storage, "journal.jsonl", signed.head.size, signed.head.root)
        proof = TlogProof(n, tuple(inclusion_proof(tree, n)), signed)
        line = tree.line(n)
        proof.require(line)
        times.append(time.perf_counter() - began_s)
        assert f'"n":{n},'.encode() in line
        assert proof.checkpoint.note.signed_by([key.public_key])
    return statistics.median(times)


def append(directory: Path, count: int, key: Key) -> tuple[float, float, float]:
    """Median seconds: bare write and fsync, an append; and a ratio, checkpoints and all."""
    entries = list(update(entry_of("r-00000000", "c1-a")))
    lines = [
        make_record(entry, 1000, "2026-11-20T00:00:00.000Z", "anna@lab").line + b"\n"
        for entry in entries
    ]
    path = directory / "bare"
    bare: list[float] = []
    ours: list[float] = []
    with (
        path.open("ab", buffering=0) as file,
        Journal.open(FileStorage(directory), clock=CLOCK, who="anna@lab", signer=key) as journal,
    ):
        for number in range(count):
            entry = entries[number % len(entries)]

            def ours_once(entry: Entry = entry) -> None:
                journal.append(
                    entry.kind, rollout=entry.rollout, device=entry.device, **entry.fields
                )

            def bare_once(line: bytes = lines[number % len(entries)]) -> None:
                file.write(line)
                os.fsync(file.fileno())

            # The first to sync in a turn pays for what others wrote meanwhile: they take turns.
            turns: list[tuple[list[float], Callable[[], None]]]
            turns = [(ours, ours_once), (bare, bare_once)]
            for times, once in turns if number % 2 else turns[::-1]:
                began_s = time.perf_counter()
                once()
                times.append(time.perf_counter() - began_s)
    return statistics.median(bare), statistics.median(ours), sum(ours) / sum(bare)


def main(arguments: list[str]) -> int:
    """Measure and print; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--appends", type=int, default=2_000)
    options = parser.parse_args(arguments)
    size: int = options.records
    cores = len(os.sched_getaffinity(0))
    key, missed = Key(), []
    with tempfile.TemporaryDirectory(dir=".") as name:
        directory = Path(name)
        write_journal(directory, size, key)
        megabytes = (directory / "journal.jsonl").stat().st_size / 1e6
        print(f"{size} records, {megabytes:.0f} MB, {cores} cores")
        goal_s = VERIFY_GOAL_S * size / 1_000_000
        before = os.times()
        whole_s = min(verify(directory, size, key, cores) for _ in range(3))
        after = os.times()
        busy_s = max(after.user - before.user, after.children_user - before.children_user) / 3
        before = os.times()
        alone_s = verify(directory, size, key, 1)
        cpu_s = os.times().user - before.user
        missed += row("verify", f"{whole_s:6.2f} s", f"{goal_s:.2f} s", whole_s <= goal_s)
        print(f"{'':9} {busy_s:6.2f} s    of a core, for the busier process of them")
        print(f"{'':9} {alone_s:6.2f} s    in one process, {cpu_s:.2f} s of them its own")
        proof_s = prove(directory, size, key)
        missed += row("prove", f"{proof_s * 1e3:6.2f} ms", "10 ms", proof_s <= PROVE_GOAL_S)
    with tempfile.TemporaryDirectory(dir=".") as name:
        bare_s, ours_s, whole = append(Path(name), options.appends, key)
        ratio = ours_s / bare_s
        note = f"{ratio:6.2f} x"
        missed += row("append", note, f"{APPEND_GOAL:.0f} x", ratio <= APPEND_GOAL)
        print(f"{'':9} {bare_s * 1e6:6.0f} us   a bare write and fsync")
        print(f"{'':9} {ours_s * 1e6:6.0f} us   an append")
        print(f"{'':9} {whole:6.2f} x    all of them, with a signed checkpoint every 64")
    return 1 if missed else 0


def row(name: str, value: str, goal: str, met: bool) -> list[str]:
    """Print one row; its name if it missed the goal."""
    print(f"{name:9} {value:11} goal {goal:7} {'met' if met else 'MISSED'}", flush=True)
    return [] if met else [name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
