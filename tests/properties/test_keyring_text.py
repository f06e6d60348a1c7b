"""Whatever stands in a keyring: entries or findings, never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryofw.image import Algorithm
from cryofw.keys import KeyringError, Purpose, parse_keyring, with_entry

PIECES = st.sampled_from(
    ["schema: cryofw.keys/v1", "\n", "keys:", "  ", "a: ", "{", "}", "[", "]", "&x ", "*x", "- ",
     "uri: file:a.pem", "purpose: image", "algorithm: ed25519", ", ", "? ", "!!", "'", "#", "\t",
     "\x00", "é", "<<: ", "no", "1e3", "|", ">"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=30).map("".join).map(str.encode) | st.binary(max_size=80)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_any_bytes_are_a_keyring_or_a_keyring_error(data: bytes) -> None:
    path = Path("/nowhere/keys.yaml")
    try:
        found = [(name, 1, 1) for name in parse_keyring(data, path).entries]
        assert not found, "/nowhere has no public keys"
    except KeyringError as error:
        found = [(each.message, each.line, each.column) for each in error.findings]
    assert all(message and line >= 1 and column >= 1 for message, line, column in found)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,12}", fullmatch=True)
URIS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).map(
    "file:{}".format
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NAMES, URIS), min_size=1, max_size=4, unique_by=lambda pair: pair[0]))
def test_entries_added_one_by_one_are_all_read_back(pairs: list[tuple[str, str]]) -> None:
    text: str | None = None
    path = Path("/nowhere/keys.yaml")
    for name, uri in pairs:
        text = with_entry(path, text, name, uri, Purpose.IMAGE, Algorithm.ED25519)

    assert text is not None
    with pytest.raises(KeyringError) as caught:
        parse_keyring(text.encode(), path)
    # Each entry is well formed: all that is missing are the key files.
    assert len(caught.value.findings) == len(pairs)
    for (name, _), found in zip(pairs, caught.value.findings, strict=True):
        assert found.message.startswith(f"key {name!r}: ")
