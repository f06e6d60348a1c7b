from __future__ import annotations

from pathlib import Path

import pytest

from cryofw.image import Algorithm
from cryofw.keys import KeyringError, Purpose, with_entry

PATH = Path("keys.yaml")


def add(text: str | None, name: str = "new", uri: str = "file:keys/new.pem") -> str:
    return with_entry(PATH, text, name, uri, Purpose.IMAGE, Algorithm.ECDSA_P256)


def test_a_first_entry_starts_a_keyring() -> None:
    text = add(None)

    assert text.endswith(
        "schema: cryofw.keys/v1\n"
        "keys:\n"
        "  new: {uri: file:keys/new.pem, purpose: image, algorithm: ecdsa-p256}\n"
    )


@pytest.mark.parametrize("end", ["\n", "", "\n\n# the end\n"])
def test_comments_and_indentation_stay(end: str) -> None:
    before = (
        "# ours\nschema: cryofw.keys/v1\nkeys:\n"
        "    old:   # first\n        uri: file:a.pem\n        purpose: image\n"
        f"        algorithm: ed25519{end}"
    )

    after = add(before)

    assert after.startswith(before)
    assert after.splitlines()[-1].startswith("    new: {uri:")


def test_a_path_with_odd_characters_is_quoted() -> None:
    text = add(None, uri="file:keys/a: {b}#c.pem")

    assert '{uri: "file:keys/a: {b}#c.pem", purpose' in text


A = "a: {uri: file:a, purpose: image, algorithm: ed25519}\n"


@pytest.mark.parametrize(
    ("before", "part"),
    [
        ("schema: cryofw.keys/v1\nkeys: {}\n", "not a block at the end"),
        (f"keys:\n  {A}schema: cryofw.keys/v1\n", "not a block at the end"),
        (f"schema: cryofw.keys/v1\nkeys:\n  new{A[1:]}", "has a key 'new' already"),
        ("schema: wrong\nkeys: {}\n", "line 1: schema is 'wrong'"),
        ("", "the file is empty"),
    ],
)
def test_what_cannot_be_added_is_told(before: str, part: str) -> None:
    with pytest.raises(KeyringError) as caught:
        add(before)

    assert part in str(caught.value)
