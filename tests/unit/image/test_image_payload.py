from __future__ import annotations

import struct

import pytest

from cryofw.image import ImageError, read_payload

END = ":00000001FF"


def record(kind: int, address: int, content: bytes) -> str:
    raw = bytes([len(content)]) + address.to_bytes(2, "big") + bytes([kind]) + content
    return f":{raw.hex()}{-sum(raw) & 0xFF:02X}"


def hex_file(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


def elf_file(
    *segments: tuple[int, bytes], bits: int = 32, kind: int = 2, load_type: int = 1
) -> bytes:
    """An executable whose segments go to the given physical addresses, their content at the end."""
    ident = b"\x7fELF" + bytes([1 if bits == 32 else 2, 1, 1]) + bytes(9)
    head, entry = ("<HHIIIIIHHHHHH", "<IIIIIIII") if bits == 32 else ("<HHIQQQIHHHHHH", "<IIQQQQQQ")
    table = 16 + struct.calcsize(head)
    entry_size = struct.calcsize(entry)
    sizes = (table, entry_size, len(segments), 0, 0, 0)
    header = struct.pack(head, kind, 40, 1, 0, table, 0, 0, *sizes)
    offset = table + entry_size * len(segments)
    entries, contents = b"", b""
    for address, content in segments:
        place = (offset + len(contents), 0x2000_0000, address, len(content), len(content) + 64)
        fields = (load_type, *place, 5, 4) if bits == 32 else (load_type, 5, *place, 4)
        entries += struct.pack(entry, *fields)
        contents += content
    return ident + header + entries + contents


def test_bin_is_taken_as_it_is() -> None:
    payload = read_payload(b"\x00\x01", "bin")
    assert (payload.data, payload.address) == (b"\x00\x01", None)


def test_hex_with_linear_addresses_gaps_and_disorder() -> None:
    payload = read_payload(
        hex_file(
            record(4, 0, b"\x08\x00"),
            record(0, 0x0208, b"late"),
            record(0, 0x0200, b"firm"),
            "",
            record(5, 0, b"\x08\x00\x02\x01"),
            END,
        ),
        "hex",
    )
    assert payload.address == 0x0800_0200
    assert payload.data == b"firm\xff\xff\xff\xfflate"


def test_hex_data_may_end_at_a_64_kib_boundary() -> None:
    lines = (record(0, 0xFFFE, b"ab"), record(4, 0, b"\0\1"), record(0, 0, b"c"), END)
    payload = read_payload(hex_file(*lines), "hex")
    assert (payload.address, payload.data) == (0xFFFE, b"abc")


def test_hex_with_segment_addresses() -> None:
    payload = read_payload(hex_file(record(2, 0, b"\x10\x00"), record(0, 4, b"x"), END), "hex")
    assert (payload.address, payload.data) == (0x10004, b"x")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "cut off"),
        ([END], "no firmware"),
        ([record(0, 0, b"x")], "end-of-file"),
        ([record(0, 0, b"x"), END, record(0, 1, b"y")], "line 3 .* follows"),
        ([record(0, 0, b"xy")[:-1] + "0", END], "line 1 .* checksum"),
        ([record(0, 0, b"xy")[:-2], END], "line 1 .* length"),
        ([record(0, 0, b"xy") + "00", END], "line 1 .* length"),
        ([record(9, 0, b"x"), END], "unknown record type 9"),
        ([record(4, 0, b"x"), END], "length does not match its type"),
        (["hello", END], "colon"),
        ([":zz", END], "hexadecimal"),
        ([":00 00 00 01 FF"], "length"),
        (["\u00e9", END], "colon"),
        ([":\u00e9\u00e9", END], "hexadecimal"),
        ([record(0, 0, b"xx"), record(0, 1, b"y"), END], "overlap"),
        ([record(0, 0xFFFF, b"xy"), END], "64 KiB boundary"),
        ([record(0, 0, b"x"), record(4, 0, b"\xff\xff"), record(0, 0, b"y"), END], "too large"),
    ],
)
def test_refuses_a_wrong_hex_file(lines: list[str], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_payload(hex_file(*lines), "hex")


@pytest.mark.parametrize("bits", [32, 64])
def test_elf_segments_go_to_their_physical_addresses(bits: int) -> None:
    data = elf_file((0x0800_0208, b"data"), (0x0800_0200, b"text"), bits=bits)
    payload = read_payload(data, "elf")
    assert payload.address == 0x0800_0200
    assert payload.data == b"text\x00\x00\x00\x00data"


def test_elf_segments_that_are_not_loaded_do_not_count() -> None:
    with pytest.raises(ImageError, match="no firmware"):
        read_payload(elf_file((0, b"note"), load_type=4), "elf")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an .elf"),
        (b"MZ" + bytes(100), "not an .elf"),
        (b"\x7fELF", "damaged"),
        (elf_file((0, b"x"))[:40], "damaged"),
        (elf_file((0, b"x"))[:60], "program headers"),
        (elf_file((0, b"xyz"))[:-1], "segment ends"),
        (elf_file((0, b"x"))[:42] + b"\x21" + elf_file((0, b"x"))[43:], "headers of 33 bytes"),
        (elf_file((0, b"x"), kind=1), "not an executable"),
        (b"\x7fELF\x01\x02" + elf_file((0, b"x"))[6:], "big-endian"),
        (b"\x7fELF\x07" + elf_file((0, b"x"))[5:], "unknown"),
        (elf_file((0, b"xx"), (1, b"y")), "overlap"),
        (elf_file((0, b"x"), (0xF000_0000, b"y")), "too large"),
        (elf_file(), "no firmware"),
    ],
)
def test_refuses_a_wrong_elf_file(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_payload(data, "elf")


def test_refuses_to_flash_the_elf_header_itself() -> None:
    data = bytearray(elf_file((0x0800_0000, b"text")))
    struct.pack_into("<I", data, 52 + 4, 0)  # p_offset of the first segment
    with pytest.raises(ImageError, match="own file header"):
        read_payload(bytes(data), "elf")


def test_many_headers_for_the_same_bytes_cost_nothing() -> None:
    header = bytearray(elf_file((0x0800_0000, bytes(1 << 20))))
    entry = bytes(header[52:84])
    struct.pack_into("<I", header, 28, len(header))  # e_phoff
    struct.pack_into("<H", header, 44, 0xFFFF)  # e_phnum: 64 GiB if each were copied
    with pytest.raises(ImageError, match="overlap"):
        read_payload(bytes(header) + entry * 0xFFFF, "elf")


def test_leaves_out_the_elf_header_where_a_section_says_what_follows() -> None:
    content = bytearray(elf_file((0x0800_0000, b"text")))
    start = len(content) - 4
    struct.pack_into("<I", content, 52 + 4, 0)
    struct.pack_into("<I", content, 52 + 16, len(content))  # p_filesz
    struct.pack_into("<I", content, 32, len(content))  # e_shoff
    struct.pack_into("<HH", content, 46, 40, 2)  # e_shentsize, e_shnum
    sections = bytes(40) + struct.pack("<10I", 0, 1, 2, 0, start, 4, 0, 0, 4, 0)
    payload = read_payload(bytes(content) + sections, "elf")
    assert (payload.address, payload.data) == (0x0800_0000 + start, b"text")
    with pytest.raises(ImageError, match="section headers"):
        read_payload(bytes(content) + sections[:-1], "elf")
