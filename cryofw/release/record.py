"""The record of one release: what the product's key signs beside length and hash of the file.

It travels as the `custom` object of a TUF target. The image says most of it too; a client compares
both, so that a record cannot be bound to another image.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cryofw.errors import CryofwError
from cryofw.image import Version
from cryofw.release.errors import ReleaseInvalid, ReleaseRefused
from cryofw.release.role import is_product
from cryofw.release.version_range import VersionRange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.release.firmware import Firmware

SCHEMA = "cryofw.release/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_LONGEST = 4096
_TEXTS = (
    "host", "from_versions", "commit", "released", "by", "why", "rolls_back", "checkpoint",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document beside a release: the path of its target, and the hex SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """A release that must not be rolled out any more: who said so, when, and why."""

    by: str
    at: str
    why: str


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """One release of a product.

    Attributes:
        product: the board, and the role whose key signs this.
        version: of the image; one version is one image for ever.
        number: counts the releases of the product; the highest that is not revoked is the latest.
        hash: hex hash of the image, as a device reports it.
        security_counter: None if the image carries none.
        host: which versions of cryofw may roll it out; from_versions: which versions of the
            firmware it may follow. Empty: all.
        released: RFC 3339 time; by: who released it; why: what they said about it.
        rolls_back: version that this release takes back; empty for one that goes forward.
        checkpoint: signed note of a journal, whose state the release so bears witness of.
        coefficients: calibration coefficients that go and come back with the firmware.
    """

    product: str
    version: str
    number: int
    hash: str
    security_counter: int | None
    host: str = ""
    commit: str = ""
    released: str = ""
    by: str = ""
    why: str = ""
    rolls_back: str = ""
    checkpoint: str = ""
    sbom: Attachment | None = None
    provenance: Attachment | None = None
    coefficients: Attachment | None = None
    revoked: Revocation | None = None
    from_versions: str = ""

    @property
    def path(self) -> str:
        """The target's path; on the server its file is named by its SHA-256 as well."""
        return f"{self.product}/{self.version}.bin"

    @property
    def name(self) -> str:
        """As people name it: product and version."""
        return f"{self.product}/{self.version}"

    def to_custom(self) -> dict[str, Any]:
        """The `custom` object of its target; what is not said is left out."""
        fields = {k: v for k, v in asdict(self).items() if v not in ("", None)}
        return {"schema": SCHEMA, **fields}

    def require_usable(self, host_version: str) -> None:
        """It may be rolled out by this cryofw.

        Raises:
            ReleaseRefused: it is revoked, or needs another version of cryofw.
        """
        if self.revoked is not None:
            raise ReleaseRefused(
                f"the release {self.name} was revoked",
                why=f"by {self.revoked.by} at {self.revoked.at}: {self.revoked.why}",
                hint="`cryofw release list` shows the others",
            )
        if not VersionRange.parse(self.host).has(host_version):
            raise ReleaseRefused(
                f"the release {self.name} is not for this cryofw",
                why=f"it needs host software {self.host}, this is cryofw {host_version}",
                hint="install a cryofw of that range, or deploy another release",
            )

    def require_image(self, firmware: Firmware) -> None:
        """The image is the one that this record speaks of.

        Raises:
            ReleaseInvalid: it is another one.
        """
        said = {
            "board": (self.product, firmware.board),
            "version": (self.version, firmware.version),
            "hash": (self.hash, firmware.hash),
            "security counter": (self.security_counter, firmware.security_counter),
        }
        wrong = [
            f"{what} is {have}, the record says {want}"
            for what, (want, have) in said.items()
            if want != have
        ]
        if wrong:
            raise ReleaseInvalid(
                f"the release {self.name} is bound to another image than its record says",
                why="; ".join(wrong),
                hint="tell whoever holds the key of the product; nothing of it was used",
            )


def record_from_custom(path: str, custom: object) -> ReleaseRecord:
    """Read a record strictly: a key may have been stolen, and what it signs is still only bytes.

    Args:
        path: of the target.
        custom: its `custom` object.

    Raises:
        ReleaseInvalid: it is not a record, or says another product or version than its path.
        ReleaseRefused: a newer cryofw wrote it.
    """
    if not isinstance(custom, dict):
        raise _invalid(path, "it has no record")
    schema = custom.get("schema")
    if schema != SCHEMA:
        if isinstance(schema, str) and schema.startswith("cryofw.release/"):
            hint = "install a newer cryofw"
            what = f"the release {path} was recorded by another version of cryofw"
            raise ReleaseRefused(
                what, why=f"its schema is {schema[:40]!r}, known: {SCHEMA}", hint=hint
            )
        raise _invalid(path, f"its schema is {str(schema)[:40]!r}")
    record = ReleaseRecord(
        product=_text(path, custom, "product"),
        version=_text(path, custom, "version"),
        number=_number(path, custom, "number", least=1),
        hash=_matched(path, custom, "hash", _SHA256),
        security_counter=(
            _number(path, custom, "security_counter", least=0)
            if "security_counter" in custom
            else None
        ),
        **{name: _text(path, custom, name, needed=False) for name in _TEXTS},
        sbom=_attachment(path, custom, "sbom"),
        provenance=_attachment(path, custom, "provenance"),
        coefficients=_attachment(path, custom, "coefficients"),
        revoked=_revocation(path, custom),
    )
    _check(path, record)
    return record


def is_of_newer_cryofw(custom: object) -> bool:
    """Whether a record has a schema that is ours, and that this version does not know."""
    schema = custom.get("schema") if isinstance(custom, dict) else None
    return isinstance(schema, str) and schema != SCHEMA and schema.startswith("cryofw.release/")


def _check(path: str, record: ReleaseRecord) -> None:
    if not is_product(record.product):
        raise _invalid(path, f"{record.product[:40]!r} cannot be a product")
    try:
        version = str(Version.parse(record.version))
        VersionRange.parse(record.host)
        VersionRange.parse(record.from_versions)
    except CryofwError as error:
        raise _invalid(path, str(error)) from error
    if version != record.version or record.path != path:
        raise _invalid(path, f"its record is that of {record.name[:80]!r}")
    if record.released and not _TIME.fullmatch(record.released):
        raise _invalid(path, "its time is no time")
    for attached in (record.sbom, record.provenance, record.coefficients):
        if attached is not None and not attached.path.startswith(f"{record.product}/"):
            raise _invalid(path, "a document beside it lies under another product")


def _invalid(path: str, why: str) -> ReleaseInvalid:
    return ReleaseInvalid(
        f"the record of the release {path[:80]!r} cannot be used",
        why=why,
        hint="tell whoever holds the key of the product; nothing of it was used",
    )


def _text(path: str, custom: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    value = custom.get(name, None if needed else "")
    if not isinstance(value, str) or len(value) > _LONGEST or (needed and not value):
        raise _invalid(path, f"its {name} is no text of at most {_LONGEST} characters")
    return value


def _matched(path: str, custom: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = _text(path, custom, name)
    if not form.fullmatch(value):
        raise _invalid(path, f"its {name} is no hex SHA-256")
    return value


def _number(path: str, custom: Mapping[str, Any], name: str, *, least: int) -> int:
    value = custom.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1 << 32:
        raise _invalid(path, f"its {name} is no number of 32 bits from {least}")
    return value


def _attachment(path: str, custom: Mapping[str, Any], name: str) -> Attachment | None:
    value = custom.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _invalid(path, f"its {name} is no object")
    return Attachment(_text(path, value, "path"), _matched(path, value, "sha256", _SHA256))


def _revocation(path: str, custom: Mapping[str, Any]) -> Revocation | None:
    value = custom.get("revoked")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _invalid(path, "its revocation is no object")
    return Revocation(_text(path, value, "by"), _text(path, value, "at"), _text(path, value, "why"))
