"""Bad input, as one table: a clear error, the documented exit code, no traceback, nothing written.

Each case spoils one thing in a fresh lab (`cryofw init`, with `image.bin` signed in it) and runs
one command there. To add cases: append to CASES; `spoil` may use any function of this file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from imgtool import keys as imgtool_keys

from cryofw.cli.main import run
from tests.flows.flash_observer import image_hash

if TYPE_CHECKING:
    from tests.flows.small_lab import SmallLab

GOOD = "firmware/build/good.bin"
SIGN = ("sign", GOOD, "out.bin", "-v", "1.0.0")

Spoil = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """What is wrong (`name`), how it came so, the command, and what it must say."""

    name: str
    command: tuple[str, ...]
    exit_code: int
    says: tuple[str, ...]
    spoil: Spoil = lambda _lab: None


def write(name: str, content: bytes | str, mode: int = 0o644) -> Spoil:
    """Put a file into the lab."""

    def spoil(lab: Path) -> None:
        path = lab / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)

    return spoil


def edit(name: str, old: bytes | str, new: bytes | str) -> Spoil:
    """Replace a text of a file, which must be there."""
    before, after = (text.encode() if isinstance(text, str) else text for text in (old, new))

    def spoil(lab: Path) -> None:
        data = (lab / name).read_bytes()
        assert before in data, f"{before!r} is not in {name}"
        (lab / name).write_bytes(data.replace(before, after, 1))

    return spoil


def flip(name: str, offset: int) -> Spoil:
    """Flip one bit of a file."""

    def spoil(lab: Path) -> None:
        data = bytearray((lab / name).read_bytes())
        data[offset] ^= 1
        (lab / name).write_bytes(data)

    return spoil


def cut(name: str, size: int) -> Spoil:
    """Keep the first bytes of a file."""
    return lambda lab: os.truncate(lab / name, size)


def remove(name: str) -> Spoil:
    return lambda lab: (lab / name).unlink()


def copy(source: str, name: str) -> Spoil:
    return lambda lab: shutil.copy(lab / source, lab / name)


def chmod(name: str, mode: int) -> Spoil:
    return lambda lab: (lab / name).chmod(mode)


def add_entry(line: str) -> Spoil:
    """Append one line to the keys of the keyring."""

    def spoil(lab: Path) -> None:
        with (lab / "keys.yaml").open("a") as file:
            file.write(f"  {line}\n")

    return spoil


def encrypt(name: str) -> Spoil:
    """Lock a private key with the passphrase `right`."""

    def spoil(lab: Path) -> None:
        from cryptography.hazmat.primitives import serialization as pem

        path = lab / name
        key = pem.load_pem_private_key(path.read_bytes(), None)
        locked = pem.BestAvailableEncryption(b"right")
        path.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked))

    return spoil


def foreign_key(name: str) -> Spoil:
    """Put a key pair of another kind (P-384) into the lab."""

    def spoil(lab: Path) -> None:
        key = imgtool_keys.ECDSA384P1.generate()
        key.export_private(str(lab / name))
        (lab / name).chmod(0o600)

    return spoil


def both(*spoils: Spoil) -> Spoil:
    def spoil(lab: Path) -> None:
        for each in spoils:
            each(lab)

    return spoil


IMAGE_CASES = [
    Case("verify: no such file", ("verify", "none.bin"), 3, ("cannot read the image none.bin",)),
    Case("verify: a directory", ("verify", "firmware"), 3, ("cannot read", "directory")),
    Case("verify: empty file", ("verify", "e.bin"), 3, ("is empty",), write("e.bin", b"")),
    Case("verify: endless file", ("verify", "/dev/zero"), 5, ("no regular file",)),
    Case("verify: raw firmware", ("verify", GOOD), 4, ("not an MCUboot image",)),
    Case("verify: text", ("verify", "fleet.yaml"), 4, ("not an MCUboot image",)),
    Case("verify: flipped bit", ("verify", "image.bin"), 4, (), flip("image.bin", 0x300)),
    Case("verify: flipped signature", ("verify", "image.bin"), 4, (), flip("image.bin", -9)),
    Case("verify: cut off", ("verify", "image.bin"), 4, (), cut("image.bin", 9000)),
    Case(
        "verify: signed with a key that is not trusted",
        ("verify", "image.bin", "-k", "keys/release.pub.pem"),
        4,
        ("key",),
    ),
    Case("inspect: raw firmware", ("inspect", GOOD), 3, ("not an MCUboot image", "cryofw sign")),
    Case("inspect: cut in the header", ("inspect", "image.bin"), 3, (), cut("image.bin", 20)),
    Case("sign: no such firmware", ("sign", "no.bin", "o.bin", "-v", "1"), 3, ("no.bin",)),
    Case(
        "sign: empty firmware",
        ("sign", "e.bin", "out.bin", "-v", "1.0.0"),
        3,
        ("is empty",),
        write("e.bin", b""),
    ),
    Case(
        "sign: bad checksum in a .hex",
        ("sign", "x.hex", "out.bin", "-v", "1.0.0"),
        3,
        ("checksum",),
        write("x.hex", ":0400000001020304F3\n:00000001FF\n"),
    ),
    Case(
        "sign: no .elf",
        ("sign", "x.elf", "out.bin", "-v", "1.0.0"),
        3,
        (".elf file is damaged",),
        write("x.elf", b"\x7fELF but not really"),
    ),
    Case("sign: larger than the slot", (*SIGN, "-S", "8K"), 3, ("does not fit its slot",)),
    Case(
        "sign: no room for the header",
        (*SIGN, "--no-pad-header"),
        3,
        ("no room for the image header", "--pad-header"),
    ),
    Case(
        "sign: output exists",
        ("sign", GOOD, "image.bin", "-v", "1.0.0"),
        5,
        ("image.bin exists already", "--force"),
    ),
    Case(
        "sign: output directory is missing",
        ("sign", GOOD, "nowhere/o.bin", "-v", "1.0.0"),
        3,
        ("cannot write nowhere/o.bin",),
    ),
]

KEY_CASES = [
    Case("key: no such file", (*SIGN, "-k", "none.pem"), 3, ("cannot read the private key",)),
    Case("key: garbage", (*SIGN, "-k", "g.pem"), 3, ("no usable", "generate"),
         write("g.pem", "garbage", 0o600)),
    Case("key: a public one to sign", (*SIGN, "-k", "p.pem"), 3, ("no usable private key",),
         both(lambda lab: shutil.copy(lab / "keys/firmware.pub.pem", lab / "p.pem"),
              chmod("p.pem", 0o600))),
    Case("key: readable by others", SIGN, 5, ("is open to others", "0644", "chmod 600"),
         chmod("keys/firmware.pem", 0o644)),
    Case("key: encrypted, no passphrase", SIGN, 3, ("encrypted", "CRYOFW_PASSPHRASE"),
         encrypt("keys/firmware.pem")),
    Case("key: wrong passphrase", (*SIGN, "--passphrase-file", "pw"), 3, ("passphrase is wrong",),
         both(encrypt("keys/firmware.pem"), write("pw", "wrong\n", 0o600))),
    Case("key: passphrase file readable by others", (*SIGN, "--passphrase-file", "pw"), 5,
         ("is open to others",), both(encrypt("keys/firmware.pem"), write("pw", "right\n"))),
    Case("key: of another kind", (*SIGN, "-k", "p384.pem"), 3, ("384",), foreign_key("p384.pem")),
    Case("key: a private one to verify", ("verify", "image.bin", "-k", "keys/firmware.pem"), 3,
         ("private key where a public one",)),
    Case("key: halves of two keys", SIGN, 3, ("do not belong together",),
         both(remove("keys/firmware.pem"),
              lambda lab: imgtool_keys.ECDSA256P1.generate().export_private(
                  str(lab / "keys/firmware.pem")),
              chmod("keys/firmware.pem", 0o600))),
    Case("key: name taken", ("keys", "generate", "release", "--purpose=image", "--no-passphrase"),
         3, ("has a key 'release' already",)),
    Case("key: file taken", ("keys", "generate", "new", "--purpose=image", "--no-passphrase"),
         3, ("keys/new.pem exists already",), write("keys/new.pem", "precious", 0o600)),
    Case("key: no passphrase for a new one", ("keys", "generate", "new", "--purpose=image"),
         2, ("no passphrase for the new key", "--no-passphrase")),
    Case("key: name with a slash", ("keys", "generate", "../new", "--purpose=image"),
         2, ("cannot be the name of a key",)),
]  # fmt: skip

KEYRING_CASES = [
    Case("keyring: missing", SIGN, 3, ("cannot read the keyring",), remove("keys.yaml")),
    Case("keyring: empty", SIGN, 3, ("the file is empty",), write("keys.yaml", "")),
    Case("keyring: not YAML", SIGN, 3, ("line 1", "not YAML"), write("keys.yaml", "{")),
    Case("keyring: another schema", SIGN, 3, ("line 2", "cryofw.keys/v9"),
         edit("keys.yaml", "keys/v1", "keys/v9")),
    Case("keyring: duplicate name", SIGN, 3, ("line 7", "stands twice, first in line 4"),
         add_entry("firmware: {uri: file:keys/a.pem, purpose: image, algorithm: ed25519}")),
    Case("keyring: unknown field", SIGN, 3, ("line 4", "no field 'urj'"),
         edit("keys.yaml", "uri", "urj")),
    Case("keyring: unknown purpose", SIGN, 3, ("line 4", "unknown purpose 'images'"),
         edit("keys.yaml", "purpose: image", "purpose: images")),
    Case("keyring: unknown algorithm", SIGN, 3, ("unknown algorithm 'ecdsa'",),
         edit("keys.yaml", "ecdsa-p256", "ecdsa")),
    Case("keyring: unknown scheme", SIGN, 3, ("unknown scheme 'ftp'",),
         edit("keys.yaml", "file:", "ftp:")),
    Case("keyring: public half missing", SIGN, 3,
         ("keys/journal.pub.pem is missing", "openssl pkey"), remove("keys/journal.pub.pem")),
    Case("keyring: one key, two purposes", SIGN, 3, ("a key serves one purpose",),
         add_entry("x: {uri: file:keys/firmware.pem, purpose: journal, algorithm: ecdsa-p256}")),
    Case("keyring: no such name", (*SIGN, "-k", "firmwear"), 3,
         ("no key 'firmwear'", "did you mean 'firmware'?")),
    Case("keyring: key of another purpose", (*SIGN, "-k", "release"), 5,
         ("not for purpose image", "a key serves one purpose")),
    Case("keyring: binary", ("keys", "list"), 3, ("not UTF-8",), write("keys.yaml", b"\xff\xfe")),
    Case("keyring: verify with none for images", ("verify", "image.bin"), 4, ("without a key",),
         edit("keys.yaml", "purpose: image", "purpose: approval")),
]  # fmt: skip

ARGUMENT_CASES = [
    Case("arguments: unknown command", ("deplyo",), 2, ("no such command 'deplyo'", "--help")),
    Case("arguments: unknown option", (*SIGN, "--slotsize", "1"), 2, ("--slot-size",)),
    Case("arguments: no version", ("sign", GOOD, "o.bin"), 2, ("missing option", "--version")),
    Case("arguments: bad version", ("sign", GOOD, "o.bin", "-v", "1.x"), 2, ("1.x", "version")),
    Case("arguments: version too large", ("sign", GOOD, "o.bin", "-v", "256.0.0"), 2, ("256",)),
    Case("arguments: bad size", (*SIGN, "-S", "lots"), 2, ("'lots' is not a size", "256K")),
    Case("arguments: bad dependency", (*SIGN, "-d", "1, 2"), 2, ("dependencies",)),
    Case("arguments: bad counter", (*SIGN, "-s", "often"), 2, ("`auto`",)),
    Case("arguments: counter out of range", (*SIGN, "-s", "4294967296"), 2, ("32 bits",)),
    Case("arguments: pad without a slot", (*SIGN, "--pad"), 2, ("slot size",)),
    Case("arguments: odd alignment", (*SIGN, "--align", "3"), 2, ("3",)),
    Case("arguments: tiny header", (*SIGN, "-H", "8"), 2, ("header size",)),
    Case("arguments: two addresses", (*SIGN, "-L", "0x1000", "-F", "0x2000"), 2, ("not both",)),
    Case("arguments: output in hex", ("sign", GOOD, "o.hex", "-v", "1.0.0"), 2, ("binary",)),
    Case("arguments: unknown variant", ("build", "--variant", "god"), 2, ("'god'", "hang")),
    Case("arguments: version for make with a quote", ("build", "--firmware-version", "1'$(id)"),
         2, ("no version string",)),
    Case("init: not empty", ("init", "."), 5, ("not empty",)),
    Case("init: a file", ("init", "keys.yaml"), 5, ("not a directory",)),
    Case("build: no sample there", ("build", "keys"), 3, ("no sample firmware", "cryofw init")),
]  # fmt: skip

CASES = [*IMAGE_CASES, *KEY_CASES, *KEYRING_CASES, *ARGUMENT_CASES]

# The rest is about a lab with simulated devices and a rollout that waits for an approval.

PLAN = ("plan", "drift.bin")
APPROVE = '"then_approve": true'
JOURNAL, CHECKPOINT = ".cryofw/journal.jsonl", ".cryofw/checkpoint.json"


def in_rollout(name: str, spoil: Callable[[str], Spoil]) -> Spoil:
    """Spoil a file of the rollout's directory."""

    def spoil_there(lab: Path) -> None:
        (directory,) = (lab / ".cryofw/rollouts").iterdir()
        spoil(str((directory / name).relative_to(lab)))(lab)

    return spoil_there


def stored_image(image: str, spoil: Callable[[str], Spoil]) -> Spoil:
    """Spoil an image of the store."""

    def spoil_there(lab: Path) -> None:
        spoil(f".cryofw/images/{image_hash((lab / image).read_bytes())}.bin")(lab)

    return spoil_there


def edit_last_record(old: str, new: str) -> Spoil:
    """Replace a text of the journal's last line."""

    def spoil(lab: Path) -> None:
        *lines, last = (lab / JOURNAL).read_text().splitlines(keepends=True)
        assert old in last
        (lab / JOURNAL).write_text("".join(lines) + last.replace(old, new))

    return spoil


FLEET_CASES = [
    Case("fleet: missing", PLAN, 3, ("fleet.yaml",), remove("fleet.yaml")),
    Case("fleet: a directory", (*PLAN, "--fleet", ".cryofw"), 3, (".cryofw",)),
    Case("fleet: empty", PLAN, 3, ("empty",), write("fleet.yaml", "")),
    Case("fleet: binary", PLAN, 3, ("UTF-8",), write("fleet.yaml", b"\xff\xfe")),
    Case("fleet: not YAML", PLAN, 3, ("fleet.yaml:1",), write("fleet.yaml", "{")),
    Case("fleet: a list", PLAN, 3, ("fleet.yaml:1",), write("fleet.yaml", "- a\n")),
    Case("fleet: another schema", PLAN, 3, ("cryofw.fleet/v9",),
         edit("fleet.yaml", "fleet/v1", "fleet/v9")),
    Case("fleet: unknown key", PLAN, 3, ("soke", "soak"),
         edit("fleet.yaml", "soak: 5 min", "soke: 5 min")),
    Case("fleet: no unit", PLAN, 3, ("soak",), edit("fleet.yaml", "soak: 5 min", "soak: 60")),
    Case("fleet: wrong unit", PLAN, 3, ("capacity",), edit("fleet.yaml", "1.5 W", "1.5 s")),
    Case("fleet: unknown target", PLAN, 3, ("cryo-9",), edit("fleet.yaml", "[cryo-1]", "[cryo-9]")),
    Case("fleet: stage without targets", PLAN, 3, ("canary-cryostat",),
         edit("fleet.yaml", "[cryo-1]", "[]")),
    Case("fleet: one port twice", PLAN, 3, ("sim://c1-a",),
         edit("fleet.yaml", "sim://c1-b", "sim://c1-a")),
    Case("fleet: one hardware id twice", PLAN, 3, ("5a11",), edit("fleet.yaml", "5a12", "5a11")),
    Case("fleet: one device twice", PLAN, 3, ("c1-a",), edit("fleet.yaml", "c1-b:", "c1-a:")),
    Case("fleet: margin above reject", PLAN, 3, ("margin",),
         edit("fleet.yaml", "margin: 0.5", "margin: 5")),
]  # fmt: skip

JOURNAL_CASES = [
    *(
        Case(f"journal: changed ({' '.join(command)})", command, 4,
             ("record 0 of the journal" if "verify" in command else "the journal was changed",
              "backup"), edit(JOURNAL, "anna@lab", "anne@lab"))
        for command in (("status",), ("resume",), ("audit", "verify"), ("audit", "show"),
                        ("inventory",), ("abort", "--yes"), ("deploy", "good.bin", "--yes"))
    ),
    Case("journal: cut", ("resume",), 4, ("ends after record 3", "here are 4"), cut(JOURNAL, 900)),
    Case("journal: cut at a line", ("status",), 4, ("ends after record 0",),
         lambda lab: (lab / JOURNAL).write_text((lab / JOURNAL).read_text().splitlines(True)[0])),
    Case("journal: gone", ("status",), 4, ("journal.jsonl",), remove(JOURNAL)),
    Case("journal: gone, and resumed", ("resume",), 4, ("journal.jsonl",), remove(JOURNAL)),
    Case("journal: gone, and audited", ("audit", "verify"), 3, ("does not exist",),
         remove(JOURNAL)),
    Case("journal: binary", ("status",), 4, (), write(JOURNAL, os.urandom(4000))),
    Case("journal: of a newer cryofw", ("resume",), 5, ("newer",),
         both(remove(CHECKPOINT), edit_last_record('{"v":1', '{"v":2'))),
    Case("checkpoint: gone", ("resume",), 4, ("checkpoint",), remove(CHECKPOINT)),
    Case("checkpoint: empty", ("status",), 4, ("checkpoint",), write(CHECKPOINT, "")),
    Case("checkpoint: not JSON", ("audit", "verify"), 4, ("checkpoint",), write(CHECKPOINT, "{")),
    Case("checkpoint: changed", ("resume",), 4, ("checkpoint",), edit(CHECKPOINT, '"v"', '"w"')),
]  # fmt: skip

PLAN_CASES = [
    Case("plan: garbage", ("deploy", "--plan", "p.json", "--yes"), 3, ("p.json is not a plan",),
         write("p.json", "{}")),
    Case("plan: missing", ("deploy", "--plan", "p.json", "--yes"), 3, ("p.json",)),
    Case("plan: an image", ("deploy", "--plan", "good.bin", "--yes"), 3, ("is not a plan",)),
    Case("plan: of the rollout, gone", ("resume",), 4, ("plan.json is missing",),
         in_rollout("plan.json", remove)),
    Case("plan: of the rollout, changed", ("resume",), 4, ("is not the plan",),
         in_rollout("plan.json", lambda name: edit(name, APPROVE, '"then_approve":  true'))),
    Case("plan: of the rollout, another decision", ("resume",), 4, ("is not the plan",),
         in_rollout("plan.json", lambda name: edit(name, APPROVE, '"then_approve": false'))),
    Case("plan: of the rollout, cut", ("status",), 4, ("is not the plan",),
         in_rollout("plan.json", lambda name: cut(name, 500))),
    Case("plan: output exists", (*PLAN, "-o", "good.bin"), 5, ("good.bin exists already",)),
    Case("readings: changed", ("resume",), 4, ("readings.jsonl is damaged", "line 1"),
         in_rollout("readings.jsonl", lambda name: edit(name, '"d"', '"x"'))),
    Case("image in the store: flipped bit", ("resume",), 4, (),
         stored_image("good.bin", lambda name: flip(name, 0x200))),
    Case("image in the store: cut", ("resume",), 4, (),
         stored_image("good.bin", lambda name: cut(name, 600))),
    Case("image in the store: gone", ("resume",), 4, ("not in the store", "--last-good"),
         stored_image("good.bin", remove)),
    Case("image in the store: another one", ("resume",), 4, ("another image than its name says",),
         stored_image("good.bin", lambda name: copy("drift.bin", name))),
    Case("way back in the store: flipped bit", ("resume",), 4, (),
         stored_image("factory.bin", lambda name: flip(name, 0x200))),
]  # fmt: skip

DEPLOY_CASES = [
    Case("deploy: nothing named", ("deploy", "--yes"), 2, ("IMAGE or --plan",)),
    Case("deploy: both named", ("deploy", "good.bin", "--plan", "p"), 2, ("IMAGE or --plan",)),
    Case("deploy: raw firmware", ("deploy", "good.raw.bin", "--yes"), 4, ("MCUboot",)),
    Case("deploy: no such image", ("deploy", "no.bin", "--yes"), 3, ("no.bin",)),
    Case("deploy: another release is open", ("deploy", "drift.bin", "--yes"), 5, ("still open",)),
    Case("plan: way back is no image", (*PLAN, "--last-good", "good.raw.bin"), 4, ("MCUboot",)),
    Case("plan: override for an unknown device", (*PLAN, "--no-way-back", "c1-x"), 2,
         ("c1-x", "did you mean")),
    Case("status: unknown rollout", ("status", "r-nope"), 3, ("no rollout called r-nope",)),
    Case("resume: unknown stage", ("resume", "--stage", "fleed"), 2, ("did you mean 'fleet'",)),
    Case("approve: unknown stage", ("approve", "--stage", "x"), 2, ("no stage 'x'",)),
    Case("approve: no stage", ("approve",), 2, ("--stage",)),
    Case("abort: nobody to agree", ("abort",), 2, ("--yes",)),
    Case("rollback: nobody to agree", ("rollback",), 2, ("--yes",)),
    Case("inventory: unknown device", ("inventory", "c9"), 3, ("no device c9",)),
    Case("quarantine: not in it", ("quarantine", "clear", "c1-a"), 3, ("not in quarantine",)),
    Case("sim: there is a lab", ("sim", "create", "--factory", "factory.bin"), 5, ("already",)),
    Case("sim: no lab", ("sim", "serve", "--state", "none"), 3, ("no simulated lab",)),
    Case("sim: nobody serves", ("sim", "fault", "c1-a", "hang"), 69, ("sim serve",)),
    Case("sim: damaged description", ("sim", "serve"), 3, ("damaged",),
         write(".cryofw/sim/lab.json", "{}")),
]  # fmt: skip

ROLLOUT_CASES = [*FLEET_CASES, *JOURNAL_CASES, *PLAN_CASES, *DEPLOY_CASES]


@pytest.fixture(scope="session")
def lab_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("bad-input") / "lab"
    assert run(["init", str(lab)]) == 0
    sign = ["sign", str(lab / GOOD), str(lab / "image.bin"), "-v", "1.0.0"]
    assert run([*sign, "--keyring", str(lab / "keys.yaml")]) == 0
    return lab


@pytest.fixture
def lab(lab_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CRYOFW_PASSPHRASE", "CRYOFW_KEYRING", "CRYOFW_STATE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    directory = Path(shutil.copytree(lab_template, tmp_path / "lab"))
    monkeypatch.chdir(directory)
    return directory


def everything(lab: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of all that is in the lab and beside it."""
    return {
        str(path.relative_to(lab.parent)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(lab.parent.rglob("*"))
        if path.suffix != ".lock"  # a lock names who holds it, and stays when it is free
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_told_and_writes_nothing(
    case: Case, lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check(case, lab, capfd)


@pytest.fixture(scope="session")
def paused_lab(small_lab_template: SmallLab, tmp_path_factory: pytest.TempPathFactory) -> SmallLab:
    lab = small_lab_template.copy_to(tmp_path_factory.mktemp("paused") / "lab")
    lab.run("deploy", "good.bin", "--yes").expect(75)
    return lab


@pytest.mark.parametrize("case", ROLLOUT_CASES, ids=lambda case: case.name)
def test_bad_input_to_a_rollout_is_told_and_writes_nothing(
    case: Case,
    paused_lab: SmallLab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("CRYOFW_KEYRING", "CRYOFW_STATE", "CRYOFW_FLEET", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    lab = paused_lab.copy_to(tmp_path / "lab").directory
    monkeypatch.chdir(lab)
    check(case, lab, capfd)


def check(case: Case, lab: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case.spoil(lab)
    before = everything(lab)

    exit_code = run(case.command)

    captured = capfd.readouterr()
    assert exit_code == case.exit_code, captured.err
    assert captured.err.startswith("error: ")
    assert captured.out == ""
    for words in case.says:
        assert words in captured.err
    assert "Traceback" not in captured.err
    assert "this is a bug" not in captured.err
    assert everything(lab) == before


def test_the_table_has_no_name_twice() -> None:
    names = [case.name for case in (*CASES, *ROLLOUT_CASES)]

    assert len(names) == len(set(names)) >= 40
