"""Both directions against imgtool: it accepts and reads what we sign, we do what it signs."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imgtool.keys
import imgtool.version
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from imgtool.main import imgtool as imgtool_command

from cryofw.image import (
    Algorithm,
    Dependency,
    ImageError,
    ImageOptions,
    ImageRejected,
    Payload,
    PublicKey,
    Tlv,
    TrailerLayout,
    Version,
    attach,
    build_image,
    parse_dependencies,
    parse_image,
    read_payload,
    verify_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytestmark = pytest.mark.peer

FIRMWARE = bytes(range(7, 256)) * 5
SLOT = 0x10000


def run(*arguments: str | Path) -> str:
    """Run imgtool as its command line would; its output."""
    result = CliRunner().invoke(imgtool_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@dataclass
class ImgtoolKey:
    """A key pair that imgtool made: its file, our view of the public half, imgtool's signing."""

    path: Path
    public: PublicKey
    sign: Callable[[bytes], bytes]


@pytest.fixture(scope="module", params=Algorithm)
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImgtoolKey:
    return make_key(request.param, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def ed25519(tmp_path_factory: pytest.TempPathFactory) -> ImgtoolKey:
    return make_key(Algorithm.ED25519, tmp_path_factory.mktemp("keys"))


def make_key(algorithm: Algorithm, directory: Path) -> ImgtoolKey:
    path, public = directory / "key.pem", directory / "key.pub.pem"
    run("keygen", "-k", path, "-t", str(algorithm))
    run("getpub", "-k", path, "-e", "pem", "-o", public)
    loaded = imgtool.keys.load(path)
    sign = loaded.sign_digest if algorithm is Algorithm.ED25519 else loaded.sign
    return ImgtoolKey(path, PublicKey.from_pem(public.read_bytes()), sign)


@dataclass
class Case:
    """The same wish in both languages."""

    name: str
    ours: Mapping[str, Any]
    theirs: tuple[str, ...]
    firmware: bytes = FIRMWARE


V = Version(1, 2, 3, 4)
CASES = [
    Case("plain", {}, ()),
    Case("header", {"header_size": 0x200}, ("-H", "0x200")),
    Case(
        "header in the firmware",
        {"header_size": 0x80, "pad_header": False},
        ("-H", "0x80", "--no-pad-header"),
        bytes(0x80) + FIRMWARE,
    ),
    Case("counter", {"security_counter": 0xFFFFFFFF}, ("-s", "0xffffffff")),
    Case("counter zero", {"security_counter": 0}, ("-s", "0")),
    Case("counter auto", {"security_counter": "auto"}, ("-s", "auto")),
    Case(
        "dependencies",
        {"dependencies": (Dependency(1, Version(2, 0, 0, 7)), Dependency(0, Version(1, 4)))},
        ("-d", "(1, 2.0.0+7), (0, 1.4.0)"),
    ),
    Case("board", {"board": "cc40"}, ("--custom-tlv", "0xCFA0", "cc40")),
    Case(
        "everything protected",
        {
            "security_counter": 9,
            "dependencies": (Dependency(3, Version(255, 255, 65535, 4294967295)),),
            "board": "cc40",
            "vendor_tlvs": (Tlv(0x01A0, b"\x00\xff"),),
        },
        (
            *("-s", "9", "-d", "(3,255.255.65535+4294967295)"),
            *("--custom-tlv", "0xCFA0", "cc40", "--custom-tlv", "0x01A0", "0x00ff"),
        ),
    ),
    Case("RAM load", {"load_addr": 0x2000_0000}, ("-L", "0x20000000")),
    Case("fixed address", {"rom_fixed": 0x0800_0000}, ("-F", "0x08000000")),
    Case("erased to zero", {"erased_value": 0, "header_size": 64}, ("-R", "0", "-H", "64")),
    Case("pad", {"pad": True}, ("--pad",)),
    Case("pad, erased to zero", {"pad": True, "erased_value": 0}, ("--pad", "-R", "0")),
    Case("test", {"pad": True}, ("--test",)),
    Case("confirm", {"confirm": True}, ("--confirm",)),
    *(
        Case(
            f"confirm, align {align}",
            {"confirm": True, "trailer": TrailerLayout(align=align)},
            ("--confirm", "--align", str(align)),
        )
        for align in (2, 4, 8, 16, 32)
    ),
    Case(
        "confirm, align 4 and 16",
        {"confirm": True, "trailer": TrailerLayout(align=4, max_align=16, max_sectors=64)},
        ("--confirm", "--align", "4", "--max-align", "16", "-M", "64"),
    ),
    Case(
        "pad, overwrite only",
        {"pad": True, "trailer": TrailerLayout(overwrite_only=True)},
        ("--pad", "--overwrite-only"),
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


def sign_ours(key: ImgtoolKey, case: Case) -> bytes:
    fields = {"version": V, "pad_header": True, "slot_size": SLOT, **case.ours}
    unsigned = build_image(Payload(case.firmware), ImageOptions(**fields))
    return attach(unsigned, key.public, key.sign(unsigned.to_sign(key.public.algorithm)))


def sign_theirs(
    key: ImgtoolKey, directory: Path, arguments: tuple[str, ...], firmware: bytes = FIRMWARE
) -> bytes:
    source, target = directory / "firmware.bin", directory / "theirs.bin"
    source.write_bytes(firmware)
    options: list[str | Path] = ["-v", "1.2.3+4", "-S", hex(SLOT), "-k", key.path]
    if "-H" not in arguments:
        options += ["-H", "32"]
    if "--no-pad-header" not in arguments:
        options.append("--pad-header")
    arguments = tuple(argument for argument in arguments if argument != "--no-pad-header")
    run("sign", *options, *arguments, source, target)
    return target.read_bytes()


def known(case: Case) -> dict[str, Any]:
    """What the verifier has to be told about the flash."""
    return {"slot_size": SLOT, "erased_value": case.ours.get("erased_value", 0xFF)}


def test_imgtool_accepts_ours(key: ImgtoolKey, case: Case, tmp_path: Path) -> None:
    path = tmp_path / "ours.bin"
    path.write_bytes(sign_ours(key, case))
    output = run("verify", "-k", key.path, path)
    assert "Image was correctly validated" in output
    assert "Image version: 1.2.3+4" in output
    assert f"Image digest: {parse_image(path.read_bytes()).hash.hex()}" in output


def test_imgtool_reads_the_same_records(key: ImgtoolKey, case: Case, tmp_path: Path) -> None:
    path, dump = tmp_path / "ours.bin", tmp_path / "dump.json"
    data = sign_ours(key, case)
    path.write_bytes(data)
    run("dumpinfo", "-s", "-f", "json", "-o", dump, path)
    seen = json.loads(dump.read_text())
    image = parse_image(data)
    assert seen["header"]["version"] == "1.2.3+4"
    assert seen["header"]["img_size"] == image.header.body_size
    assert seen["header"]["flags"] == image.flags
    assert seen["header"]["load_addr"] == image.load_addr
    for records, ours in (("tlvs_prot", image.protected), ("tlvs", image.tlvs)):
        theirs = seen["tlv_area"][records]
        assert [(record["type"], tlv_value(record)) for record in theirs] == [
            (tlv.type, tlv.value) for tlv in ours
        ]


def tlv_value(record: dict[str, Any]) -> bytes:
    data = record["data"]
    return bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)


def test_we_accept_theirs(key: ImgtoolKey, case: Case, tmp_path: Path) -> None:
    data = sign_theirs(key, tmp_path, case.theirs, case.firmware)
    verified = verify_image(data, [key.public], **known(case))
    image, asked = verified.image, ImageOptions(**{"version": V, "slot_size": SLOT, **case.ours})
    assert image.version == V
    assert image.security_counter == asked.counter
    assert image.dependencies == asked.dependencies
    assert image.board == asked.board
    assert image.protected == asked.protected_tlvs()
    assert image.load_addr == (asked.rom_fixed or asked.load_addr)
    assert image.header_size == asked.header_size
    assert image.body == FIRMWARE
    assert (verified.padded, verified.confirmed) == (asked.padded, asked.confirm)


def test_ours_is_theirs_but_for_random_signatures(
    key: ImgtoolKey, case: Case, tmp_path: Path
) -> None:
    ours = sign_ours(key, case)
    theirs = sign_theirs(key, tmp_path, case.theirs, case.firmware)
    if key.public.algorithm is Algorithm.ED25519:
        assert ours == theirs
        return
    mine, other = parse_image(ours), parse_image(theirs)
    assert mine.hashed_region == other.hashed_region
    assert mine.tlvs[:2] == other.tlvs[:2]
    assert [tlv.type for tlv in mine.tlvs] == [tlv.type for tlv in other.tlvs]
    shared = min(len(mine.padding), len(other.padding))
    assert (len(ours) == len(theirs)) or not shared
    assert (
        mine.padding[len(mine.padding) - shared :] == other.padding[len(other.padding) - shared :]
    )


def test_key_hashes_are_theirs(key: ImgtoolKey, tmp_path: Path) -> None:
    raw, digest = tmp_path / "raw", tmp_path / "hash"
    run("getpub", "-k", key.path, "-e", "raw", "-o", raw)
    run("getpubhash", "-k", key.path, "-e", "raw", "-o", digest)
    assert key.public.encoded == raw.read_bytes()
    assert key.public.key_hash == digest.read_bytes()


@pytest.mark.parametrize("version", ["0", "1.2", "1.2.3", "12.34.5678+90123", "255.255.65535"])
def test_versions_and_automatic_counters_are_theirs(
    ed25519: ImgtoolKey, tmp_path: Path, version: str
) -> None:
    data = sign_theirs(ed25519, tmp_path, ("-v", version, "-s", "auto"))
    ours = Version.parse(version)
    image = verify_image(data, [ed25519.public]).image
    assert image.version == ours
    assert image.security_counter == ImageOptions(version=ours, security_counter="auto").counter
    assert tuple(imgtool.version.decode_version(str(ours))) == (
        *(ours.major, ours.minor, ours.revision, ours.build),
    )


@pytest.mark.parametrize(
    "text", ["", "v1", "1.2.3.4", "01.2", "1.2.3-rc1", "1.2.3+", "1+2", "-1", "1.2.3 "]
)
def test_versions_that_both_refuse(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid version"):
        imgtool.version.decode_version(text)
    with pytest.raises(ImageError):
        Version.parse(text)


def test_dependencies_in_text_are_theirs(ed25519: ImgtoolKey, tmp_path: Path) -> None:
    text = "(1, 2.0.0+7),(2,1.4)"
    data = sign_theirs(ed25519, tmp_path, ("-d", text))
    assert verify_image(data, [ed25519.public]).image.dependencies == parse_dependencies(text)


@pytest.mark.parametrize("align", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("overwrite", [False, True])
def test_the_largest_image_for_a_slot_is_theirs(
    ed25519: ImgtoolKey, tmp_path: Path, align: int, overwrite: bool
) -> None:
    layout = TrailerLayout(align=align, overwrite_only=overwrite)
    arguments = ("--align", str(align), *(["--overwrite-only"] if overwrite else []))
    overhead = len(sign_ours(ed25519, Case("plain", {}, ()))) - len(FIRMWARE)
    fits = bytes([1]) * (SLOT - layout.size - overhead)
    case = Case("largest", {"trailer": layout}, arguments, fits)
    assert sign_ours(ed25519, case) == sign_theirs(ed25519, tmp_path, arguments, fits)
    case.firmware += b"\1"
    with pytest.raises(ImageError, match="does not fit"):
        sign_ours(ed25519, case)
    with pytest.raises(AssertionError, match="exceeds requested size"):
        sign_theirs(ed25519, tmp_path, arguments, case.firmware)


def test_hex_in_and_out(key: ImgtoolKey, tmp_path: Path) -> None:
    from intelhex import IntelHex

    source, target = tmp_path / "firmware.hex", tmp_path / "signed.hex"
    content = IntelHex()
    content.puts(0x0800_0200, FIRMWARE)
    content.puts(0x0801_0000, b"far")
    content.write_hex_file(str(source))
    payload = read_payload(source.read_bytes(), "hex")
    assert payload.address == 0x0800_0200
    assert payload.data == content.tobinstr()
    options = ["-v", "1.2.3+4", "-S", "0x20000", "-H", "0x200", "--pad-header", "--confirm"]
    run("sign", "-k", key.path, *options, source, target)
    signed = read_payload(target.read_bytes(), "hex")
    assert signed.address == 0x0800_0000
    verified = verify_image(signed.data, [key.public], slot_size=0x20000)
    assert verified.image.body == payload.data
    assert verified.confirmed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--pure",), "TLV SHA512|SIG_PURE"),
        (("--sha", "512"), "SHA512"),
        (("--public-key-format", "full"), "PUBKEY"),
        (("--endian", "big"), "not an MCUboot image"),
    ],
)
def test_theirs_that_we_refuse(
    ed25519: ImgtoolKey, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    data = sign_theirs(ed25519, tmp_path, arguments, bytes([1]) * 20_000)
    with pytest.raises(ImageRejected, match=reason):
        verify_image(data, [ed25519.public])


def test_encrypted_ones_are_refused(tmp_path: Path) -> None:
    key = make_key(Algorithm.ECDSA_P256, tmp_path)
    other = tmp_path / "enc.pem"
    run("keygen", "-k", other, "-t", "ecdsa-p256")
    data = sign_theirs(key, tmp_path, ("--encrypt", str(other)))
    with pytest.raises(ImageRejected, match="encrypted"):
        verify_image(data, [key.public])


def test_padded_ecdsa_signatures_are_refused(tmp_path: Path) -> None:
    key = make_key(Algorithm.ECDSA_P256, tmp_path)
    lengths = set()
    for version in range(64):
        data = sign_theirs(key, tmp_path, ("--pad-sig", "-v", f"{version}"))
        signature = parse_image(data).tlvs[2].value
        lengths.add(signature[1] + 2)
        if signature[1] + 2 < 72:
            with pytest.raises(ImageRejected, match="malformed"):
                verify_image(data, [key.public])
            return
    pytest.fail(f"imgtool never padded a signature, lengths were {lengths}")


def test_fixed_signatures_of_garbage_are_refused(ed25519: ImgtoolKey, tmp_path: Path) -> None:
    import base64

    garbage, target = tmp_path / "garbage", tmp_path / "theirs.bin"
    source = tmp_path / "firmware.bin"
    source.write_bytes(FIRMWARE)
    for content in (bytes(64), bytes(range(64))):
        garbage.write_bytes(base64.b64encode(content))
        options = ["-v", "1", "-S", hex(SLOT), "-H", "32", "--pad-header"]
        run(
            "sign", *options, "--fix-sig", garbage, "--fix-sig-pubkey", ed25519.path, source, target
        )
        with pytest.raises(ImageRejected, match=r"malformed|does not verify"):
            verify_image(target.read_bytes(), [ed25519.public])


def test_unsigned_ones_are_refused(ed25519: ImgtoolKey, tmp_path: Path) -> None:
    source, target = tmp_path / "firmware.bin", tmp_path / "theirs.bin"
    source.write_bytes(FIRMWARE)
    run("sign", "-v", "1", "-S", hex(SLOT), "-H", "32", "--pad-header", source, target)
    assert "correctly validated" in run("verify", target)  # the trap: imgtool needs no key
    with pytest.raises(ImageRejected, match="not signed"):
        verify_image(target.read_bytes(), [ed25519.public])


def test_a_private_key_of_imgtool_is_a_plain_pem(ed25519: ImgtoolKey) -> None:
    private = load_pem_private_key(ed25519.path.read_bytes(), None)
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert PublicKey.from_pem(pem) == ed25519.public


@pytest.fixture(scope="module", params=["-Wl,-n", "-Wl,-z,max-page-size=0x1000"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linked Cortex-M program with code, initialised data in RAM and a gap in flash."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.fail("arm-none-eabi-gcc is missing: apt-get install gcc-arm-none-eabi")
    directory = tmp_path_factory.mktemp("program")
    (directory / "a.c").write_text(
        "int data = 0x1234; int zero;\n"
        '__attribute__((section(".far"))) const int far = 7;\n'
        "int start(void) { return data + zero + far; }\n"
    )
    (directory / "a.ld").write_text(
        "ENTRY(start)\nSECTIONS {\n"
        " .text 0x08000200 : { *(.text*) }\n"
        " .data 0x20000000 : AT(0x08000300) { *(.data*) }\n"
        " .bss : { *(.bss*) }\n"
        " .far 0x08000400 : { *(.far) }\n"
        " /DISCARD/ : { *(.ARM*) *(.comment) }\n}\n"
    )
    flags = ["-mcpu=cortex-m3", "-mthumb", "-nostdlib", request.param, "-Wl,-T,a.ld"]
    subprocess.run(["arm-none-eabi-gcc", *flags, "-o", "a.elf", "a.c"], cwd=directory, check=True)
    return directory / "a.elf"


@pytest.mark.parametrize(("kind", "form"), [("bin", "binary"), ("hex", "ihex")])
def test_elf_is_read_as_objcopy_writes_it(program: Path, kind: str, form: str) -> None:
    output = program.with_suffix(f".{kind}")
    subprocess.run(["arm-none-eabi-objcopy", "-O", form, program, output], check=True)
    payload = read_payload(program.read_bytes(), "elf")
    assert payload.address == 0x0800_0200
    if kind == "bin":
        assert payload.data == output.read_bytes()
        return
    from_hex = read_payload(output.read_bytes(), "hex")
    assert from_hex.address == payload.address
    assert len(from_hex.data) == len(payload.data)
