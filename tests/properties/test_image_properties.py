"""For any input: signing round-trips, damage never verifies, parsing never crashes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cryofw.image import (
    Algorithm,
    Dependency,
    Image,
    ImageError,
    ImageOptions,
    ImageRejected,
    Payload,
    PayloadKind,
    PublicKey,
    Tlv,
    Version,
    attach,
    build_image,
    inspect_image,
    parse_dependencies,
    parse_image,
    read_payload,
    verify_image,
)

Keys = Mapping[Algorithm, tuple[PublicKey, Callable[[bytes], bytes]]]

versions = st.builds(
    Version,
    *(st.integers(0, 0xFF), st.integers(0, 0xFF)),
    *(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)),
)
vendor_types = st.builds(
    lambda high, low: high << 8 | low, st.integers(0, 0xCE), st.integers(0xA0, 0xFF)
)
option_sets = st.builds(
    ImageOptions,
    version=versions,
    header_size=st.integers(32, 600),
    pad_header=st.just(True),
    slot_size=st.none() | st.integers(4096, 8192),
    security_counter=st.none() | st.just("auto") | st.integers(0, 0xFFFF_FFFF),
    dependencies=st.lists(st.builds(Dependency, st.integers(0, 0xFF), versions), max_size=3).map(
        tuple
    ),
    load_addr=st.integers(0, 0xFFFF_FFFF),
    board=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=16),
    vendor_tlvs=st.lists(
        st.builds(Tlv, vendor_types, st.binary(max_size=40)),
        max_size=3,
        unique_by=lambda tlv: tlv.type,
    ).map(tuple),
)
payloads = st.binary(min_size=1, max_size=400)
algorithms = st.sampled_from(Algorithm)


def sign(keys: Keys, algorithm: Algorithm, payload: bytes, options: ImageOptions) -> bytes:
    key, make_signature = keys[algorithm]
    unsigned = build_image(Payload(payload), options)
    return attach(unsigned, key, make_signature(unsigned.to_sign(algorithm)))


def trusted(keys: Keys) -> list[PublicKey]:
    return [key for key, _ in keys.values()]


@given(payload=payloads, options=option_sets, algorithm=algorithms)
def test_what_was_signed_is_what_verifies(
    image_keys: Keys, payload: bytes, options: ImageOptions, algorithm: Algorithm
) -> None:
    data = sign(image_keys, algorithm, payload, options)
    verified = verify_image(data, trusted(image_keys), slot_size=options.slot_size)
    image = verified.image
    assert verified.key.algorithm is algorithm
    assert image.data == data
    assert image.size == len(data)
    assert (image.body, image.version) == (payload, options.version)
    assert (image.header_size, image.load_addr) == (options.header_size, options.load_addr)
    assert (image.security_counter, image.board) == (options.counter, options.board)
    assert image.dependencies == options.dependencies
    assert image.protected == options.protected_tlvs()


@given(
    payload=payloads,
    options=option_sets,
    algorithm=algorithms,
    place=st.integers(0, 10_000),
    cut=st.integers(0, 8),
    added=st.binary(max_size=8),
)
def test_any_change_of_any_bytes_is_refused(
    image_keys: Keys,
    payload: bytes,
    options: ImageOptions,
    algorithm: Algorithm,
    place: int,
    cut: int,
    added: bytes,
) -> None:
    good = sign(image_keys, algorithm, payload, options)
    start = place % (len(good) + 1)
    bad = good[:start] + added + good[start + cut :]
    assume(bad != good)
    with pytest.raises(ImageRejected):
        verify_image(bad, trusted(image_keys))


@given(payload=payloads, algorithm=algorithms, position=st.integers(0, 10_000))
def test_any_flipped_bit_of_a_padded_file_is_refused(
    image_keys: Keys, payload: bytes, algorithm: Algorithm, position: int
) -> None:
    options = ImageOptions(version=Version(1), pad_header=True, slot_size=2048, confirm=True)
    flipped = bytearray(sign(image_keys, algorithm, payload, options))
    position %= 8 * len(flipped)
    flipped[position // 8] ^= 1 << position % 8
    with pytest.raises(ImageRejected):
        verify_image(bytes(flipped), trusted(image_keys), slot_size=2048)


@given(payload=payloads, options=option_sets, algorithm=algorithms, other=algorithms)
def test_only_the_signing_key_verifies(
    image_keys: Keys, payload: bytes, options: ImageOptions, algorithm: Algorithm, other: Algorithm
) -> None:
    assume(algorithm is not other)
    data = sign(image_keys, algorithm, payload, options)
    with pytest.raises(ImageRejected):
        verify_image(data, [image_keys[other][0]])


def parses_or_refuses(data: bytes) -> Image | None:
    try:
        image = parse_image(data)
    except ImageError:
        with pytest.raises(ImageError):
            inspect_image(data)
        return None
    assert inspect_image(data).file_size == len(data)
    return image


@given(st.binary(max_size=300))
def test_any_bytes_are_an_image_or_a_typed_error(image_keys: Keys, data: bytes) -> None:
    parses_or_refuses(data)
    with pytest.raises(ImageRejected):
        verify_image(data, trusted(image_keys))


sizes16 = st.integers(0, 0xFFFF) | st.integers(0, 80)
sizes32 = st.integers(0, 0xFFFF_FFFF) | st.integers(0, 80)
tlv_bytes = st.builds(
    lambda magic, total, records: struct.pack("<HH", magic, total) + records,
    st.sampled_from((0x6907, 0x6908)),
    sizes16,
    st.lists(
        st.builds(
            lambda kind, length, value: struct.pack("<HH", kind, length) + value,
            st.sampled_from((0x01, 0x10, 0x24, 0x40, 0x50, 0xCFA0)) | sizes16,
            st.sampled_from((4, 12, 16, 32, 64)) | sizes16,
            st.binary(max_size=70),
        ),
        max_size=4,
    ).map(b"".join),
)


@given(
    sizes=st.tuples(st.just(32) | sizes16, sizes16, sizes32, sizes32),
    rest=st.lists(st.binary(max_size=60) | tlv_bytes, max_size=4).map(b"".join),
)
def test_any_sizes_behind_the_magic_are_an_image_or_a_typed_error(
    image_keys: Keys, sizes: tuple[int, int, int, int], rest: bytes
) -> None:
    data = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, *sizes, 1, 2, 3, 4, 0) + rest
    parses_or_refuses(data)
    with pytest.raises(ImageRejected):
        verify_image(data, trusted(image_keys))


@given(data=st.binary(max_size=400), kind=st.sampled_from(("bin", "hex", "elf")))
def test_any_firmware_file_is_read_or_refused(data: bytes, kind: PayloadKind) -> None:
    prefix = {"bin": b"", "hex": b":", "elf": b"\x7fELF\x01\x01"}[kind]
    try:
        payload = read_payload(prefix + data, kind)
    except ImageError:
        return
    assert payload.data or kind == "bin"


@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=20)), min_size=1, max_size=8
    ),
    base=st.integers(0, 0xFFFF_0000 >> 4).map(lambda value: value << 4),
)
def test_hex_is_read_at_its_addresses(pieces: list[tuple[int, bytes]], base: int) -> None:
    memory: dict[int, int] = {}
    lines, address = [], base
    for gap, content in pieces:
        address += gap
        assume((address & 0xFFFF) + len(content) <= 0x10000)
        assume(address + len(content) <= 1 << 32)
        for kind, offset, raw in (
            (4, 0, (address >> 16).to_bytes(2, "big")),
            (0, address & 0xFFFF, content),
        ):
            body = bytes([len(raw)]) + offset.to_bytes(2, "big") + bytes([kind]) + raw
            lines.append(f":{body.hex()}{-sum(body) & 0xFF:02x}")
        memory.update(enumerate(content, address))
        address += len(content)
    payload = read_payload("\n".join([*lines, ":00000001FF"]).encode(), "hex")
    assert payload.address == min(memory)
    assert payload.data == bytes(
        memory.get(place, 0xFF) for place in range(min(memory), max(memory) + 1)
    )


@given(versions)
def test_version_text_round_trips(version: Version) -> None:
    assert Version.parse(str(version)) == version
    smp = str(version).replace("+", ".")
    assert Version.parse_smp(smp) == version


@given(st.text(max_size=40))
def test_any_text_is_a_version_or_a_typed_error(text: str) -> None:
    for parse in (Version.parse, Version.parse_smp, parse_dependencies):
        try:
            parse(text)
        except ImageError:
            continue
        assert text.isascii()


@given(st.lists(st.builds(Dependency, st.integers(0, 255), versions), min_size=1, max_size=5))
def test_dependency_text_round_trips(dependencies: list[Dependency]) -> None:
    assert parse_dependencies(", ".join(map(str, dependencies))) == tuple(dependencies)
