from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryofw.keys import KeyringError
from cryofw.keys.pkcs11_uri import Pkcs11Uri, parse_pkcs11_uri
from cryofw.keys.scheme import check_uri


def test_all_attributes_are_read() -> None:
    text = (
        "pkcs11:token=Lab%20HSM;serial=0a1b;manufacturer=A%26B;model=v2;slot-id=7;"
        "object=fw%3b1;id=%00%ff;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin"
    )

    assert parse_pkcs11_uri(text) == Pkcs11Uri(
        text,
        token="Lab HSM",
        serial="0a1b",
        manufacturer="A&B",
        model="v2",
        slot_id=7,
        object="fw;1",
        id=b"\x00\xff",
        module_path="/usr/lib/x.so",
        pin_source="file:/run/pin",
    )


def test_an_empty_path_matches_any_key() -> None:
    assert parse_pkcs11_uri("pkcs11:?module-name=softhsm2") == Pkcs11Uri(
        "pkcs11:?module-name=softhsm2", module_name="softhsm2"
    )


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("token=a;token=b", "token stands twice"),
        ("token=a?module-name=x&module-name=y", "module-name stands twice"),
        ("tokn=a", "unknown attribute 'tokn'"),
        ("token=a;x-vendor=1", "unknown attribute 'x-vendor'"),
        ("token=a?object=b", "unknown attribute 'object' here"),
        ("token=a;module-name=b", "unknown attribute 'module-name' here"),
        ("token", "the value of token"),
        ("token=", "token is empty"),
        ("token=a;", "unknown attribute ''"),
        ("token=a?", "ends with ?"),
        ("token=a b", "not encoded"),
        ("token=a%2", "not encoded"),
        ("token=a%zz", "not encoded"),
        ("token=a/b", "not encoded"),
        ("token=ä", "not encoded"),
        ("token=a?module-path=/x&pin-source=a#b", "not encoded"),
        ("token=%ff", "token is not UTF-8"),
        ("token=a%00", "characters that no name has"),
        ("token=a%0ab", "characters that no name has"),
        ("object=a;type=public", "only a private key signs"),
        ("object=a;type=cert", "only a private key signs"),
        ("slot-id=0x1", "decimal"),
        ("token=a?module-name=x&module-path=/y.so", "one of them is enough"),
        ("token=a?module-name=../x", "not a path"),
        ("token=a?pin-source=|cat%20/pin", "commands are not run"),
    ],
)
def test_what_is_not_as_rfc_7512_says_is_refused_with_the_reason(rest: str, why: str) -> None:
    with pytest.raises(KeyringError) as caught:
        check_uri(f"pkcs11:{rest}")

    assert why in caught.value.why
    assert "keys.example" in caught.value.hint


@pytest.mark.parametrize("rest", ["object=a?pin-value=7391", "pin-value=7391;object=a"])
def test_a_pin_in_the_uri_is_refused_and_not_repeated(rest: str) -> None:
    with pytest.raises(KeyringError, match="a PIN has no place") as caught:
        parse_pkcs11_uri(f"pkcs11:{rest}")

    assert "7391" not in f"{caught.value} {caught.value.hint}"
    assert "CRYOFW_PIN" in caught.value.hint


@given(st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1), st.binary(min_size=1))
def test_what_is_encoded_is_read_back(label: str, identifier: bytes) -> None:
    uri = f"pkcs11:object={quote(label, safe='')};id={quote(identifier, safe='')}"

    parsed = parse_pkcs11_uri(uri)

    assert (parsed.object, parsed.id) == (label, identifier)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(rest: str) -> None:
    with contextlib.suppress(KeyringError):
        assert parse_pkcs11_uri(f"pkcs11:{rest}").text == f"pkcs11:{rest}"


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:tokn=lab?pin-value=7391",
        "pkcs11:token=a b?pin-value=7391",
        "pkcs11:token=lab?Pin-Value=7391",
        "pkcs11:token=lab?pin%2Dvalue=7391",
        "pkcs11:token=lab;pin=7391",
        "PKCS11:token=lab?pin-value=7391",
        "pkcs12:token=lab?pin-value=7391",
    ],
)
def test_a_pin_in_a_uri_with_another_mistake_is_not_shown(uri: str) -> None:
    with pytest.raises(KeyringError) as caught:
        check_uri(uri)
    said = f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    assert "7391" not in said
    assert "lab" in said or "a b" in said or "..." in said
