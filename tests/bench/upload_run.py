"""Running one upload on a paced line: which program, what it took, and whether it was right."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cryofw.image import (
    ImageOptions,
    PublicKey,
    Version,
    attach,
    build_image,
    parse_image,
    read_payload,
)
from tests.bench.paced_lines import ROOT, PacedLines

if TYPE_CHECKING:
    from tests.bench.paced_device import LineSpec
    from tests.bench.paced_lines import LineReport

TOOLKIT: Final = "mcumgr-toolkit==0.20.0"
TOOLKIT_VARIABLE: Final = "CRYOFW_BENCH_MCUMGR_TOOLKIT"
"""Names a Python that has mcumgr-toolkit; without it the bench makes a venv for itself."""
LONGEST_RUN_S: Final = 900


@dataclass(frozen=True)
class Image:
    """An image file of random firmware, signed with a key made for it."""

    path: Path
    size: int
    hash: str
    sha: str


@dataclass(frozen=True)
class Run:
    """One upload.

    Attributes:
        upload_s: on the line, from the first bit of it to the last bit of the last answer.
        wall_s: of the program's work (of the whole process where it is a program).
        cpu_s: its CPU seconds, likewise.
        report: what the device saw.
        error: why it failed; "" if it did not.
    """

    upload_s: float
    wall_s: float
    cpu_s: float
    report: LineReport | None
    error: str = ""


def make_image(directory: Path, size: int) -> Image:
    """Build and sign an image file of exactly `size` bytes (1 KiB at least)."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = PublicKey.from_pem(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    def build(payload_size: int) -> bytes:
        payload = read_payload(random.Random(5).randbytes(payload_size), "bin")
        unsigned = build_image(payload, ImageOptions(version=Version(1, 1, 0), pad_header=True))
        return attach(unsigned, public, key.sign(unsigned.to_sign(public.algorithm)))

    data = build(size - (len(build(512)) - 512))
    assert len(data) == size
    path = directory / f"image-{size}.bin"
    path.write_bytes(data)
    return Image(path, size, parse_image(data).hash.hex(), hashlib.sha256(data).hexdigest())


def toolkit_python(directory: Path) -> str:
    """Return a Python with mcumgr-toolkit, installing it into `directory` if need be; "" if not."""
    named = os.environ.get(TOOLKIT_VARIABLE)
    if named:
        return named
    venv = directory / "toolkit"
    python = venv / "bin" / "python"
    for words in (
        [sys.executable, "-m", "venv", str(venv)],
        [str(python), "-m", "pip", "install", TOOLKIT],
    ):
        if subprocess.run(words, capture_output=True).returncode:
            return ""
    return str(python)


def command(peer: str, port: str, spec: LineSpec, image: Image, toolkit: str) -> list[str]:
    """Return what to run for one upload."""
    if peer == "smpmgr":
        program = shutil.which("smpmgr", path=str(Path(sys.executable).parent)) or "smpmgr"
        buffers = ["--port", port, "--baudrate", str(spec.baud), "--timeout", "10"]
        return [program, *buffers, "image", "upload", str(image.path)]
    python = toolkit if peer == "mcumgr-toolkit" else sys.executable
    script = str(ROOT / "tests" / "bench" / "upload_peer.py")
    words = [python, script, peer, port, str(spec.baud), str(image.path), image.hash]
    return [*words, "raw"] if spec.raw else words


def run(peer: str, spec: LineSpec, image: Image, toolkit: str) -> Run:
    """Let one program upload `image` over a line of its own; what the device holds is compared."""
    with PacedLines(spec) as lines:
        words = command(peer, lines.ports[0], spec, image, toolkit)
        done = _measured(words)
        [report] = lines.reports()
    if done.error:
        return Run(0.0, done.wall_s, done.cpu_s, report, done.error)
    if report.sha != image.sha:
        return Run(0.0, done.wall_s, done.cpu_s, report, "the device holds something else")
    return Run(report.upload_s, done.wall_s, done.cpu_s, report)


@dataclass(frozen=True)
class _Done:
    wall_s: float
    cpu_s: float
    error: str


def _measured(words: list[str]) -> _Done:
    """Run it; a program that tells what its work cost is believed, else the whole of it counts."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before, begun_s = os.times(), os.times().elapsed
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=LONGEST_RUN_S, env=environment
        )
    except subprocess.TimeoutExpired:
        return _Done(LONGEST_RUN_S, 0.0, f"not done after {LONGEST_RUN_S} s")
    after = os.times()
    wall_s = after.elapsed - begun_s
    cpu_s = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        return _Done(wall_s, cpu_s, f"exit code {done.returncode}: {said}")
    if "upload_peer" in words[1]:
        told = json.loads(done.stdout.strip().splitlines()[-1])
        return _Done(told["wall_s"], told["cpu_s"], "")
    return _Done(wall_s, cpu_s, "")
