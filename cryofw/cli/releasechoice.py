"""Which firmware `plan` and `deploy` mean: a file, or a release of a repository."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.operator import operator_name
from cryofw.cli.releaseview import repo_source_option
from cryofw.errors import Refused, UsageError
from cryofw.image import ImageRejected
from cryofw.release import admit
from cryofw.release.errors import ReleaseInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from cryofw.engine.home import Home
    from cryofw.image import PublicKey
    from cryofw.release import (
        Firmware,
        OfferedRelease,
        ReleaseClient,
        ReleaseOrigin,
        ReleaseRecord,
    )
    from cryofw.release.coefficients import Coefficients

release_option = click.option(
    "--release",
    "release",
    metavar="[BOARD/]VERSION|latest",
    help="Deploy this release of a repository instead of a file.",
)
accept_expired_option = click.option(
    "--accept-expired",
    metavar="ROLE",
    multiple=True,
    help="In an emergency: take the release although ROLE's metadata expired; needs --why.",
)


def release_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name a release instead of a file."""
    for option in (accept_expired_option, repo_source_option, release_option):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class ReleaseWish:
    """What was asked for on the command line.

    Attributes:
        name: release, such as 2.1.0 or latest; source: where from, None for the usual place.
        accept_expired: roles whose expiry is accepted; why: the reason.
    """

    name: str
    source: str | None
    accept_expired: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class ChosenFirmware:
    """Verified firmware, its bytes, and where it came from (None: a file)."""

    firmware: Firmware
    data: bytes
    origin: ReleaseOrigin | None = None
    client: ReleaseClient | None = None
    record: ReleaseRecord | None = None

    def coefficients(self, given: Coefficients | None) -> Coefficients | None:
        """The calibration coefficients that go with it: the release's own, else those given.

        Raises:
            Refused: both, and they differ.
            CoefficientsError: the release's cannot be read.
        """
        attached = self.record.coefficients if self.record else None
        if attached is None:
            return given
        assert self.client is not None
        from cryofw.release.coefficients import parse_coefficients

        own = parse_coefficients(self.client.read_document(attached.path), attached.path)
        if given is not None and given.digest != own.digest:
            raise Refused(
                "the release brings coefficients of its own",
                why=f"{attached.path} is {own.digest[:16]}, --coefficients {given.digest[:16]}",
                hint="leave --coefficients out, or deploy the image as a file",
            )
        return own

    def way_back(self, hashes: Collection[str], keys: Sequence[PublicKey]) -> list[bytes]:
        """Images of the repository that devices run now, verified; revoked ones as well."""
        if self.client is None or not hashes:
            return []
        return [self._verified(each, keys) for each in self.client.with_hash(hashes)]

    def _verified(self, release: OfferedRelease, keys: Sequence[PublicKey]) -> bytes:
        assert self.client is not None
        data = self.client.read(release)
        release.record.require_image(_admit(release, data, keys))
        return data


def choose_firmware(
    home: Home,
    keys: Sequence[PublicKey],
    image: Path | None,
    wish: ReleaseWish | None,
    boards: Sequence[str],
) -> ChosenFirmware:
    """The firmware of a file, or of a release that is verified down from the pinned root.

    Args:
        home: the state directory; it pins the root and remembers what was revoked.
        keys: that may have signed images.
        image: the file; None for a release.
        wish: the release; None for a file.
        boards: of the fleet.

    Raises:
        ImageRejected: the image does not verify.
        ReleaseInvalid, MetadataExpired: the release, or what vouches for it, does not.
        ReleaseRefused: it is revoked, or for another cryofw or board.
        Refused: no root is trusted.
    """
    from cryofw.release.trust import require_not_revoked

    if wish is None:
        assert image is not None
        data = read_file(image, "image")
        chosen = ChosenFirmware(admit(data, keys), data)
    else:
        chosen = _take(home, keys, wish, boards)
    require_not_revoked(home.storage, chosen.firmware.hash)
    return chosen


def _take(
    home: Home, keys: Sequence[PublicKey], wish: ReleaseWish, boards: Sequence[str]
) -> ChosenFirmware:
    from cryofw.release import Forgiveness, ReleaseClient, load_pinned_root, parse_release

    pinned = load_pinned_root(home.storage)
    source = wish.source or pinned.source
    if not source:
        raise UsageError(
            "which repository?", hint="--repo SOURCE, or `cryofw release trust ROOT --repo SOURCE`"
        )
    product, version = parse_release(wish.name, boards)
    who = operator_name() if wish.accept_expired else ""
    forgiveness = Forgiveness(wish.accept_expired, who, wish.why)
    client = ReleaseClient(home.directory, source, pinned, datetime.now(UTC), forgiveness)
    offered = client.choose(product, version)
    data = client.read(offered)
    firmware = _admit(offered, data, keys)
    offered.record.require_image(firmware)
    return ChosenFirmware(firmware, data, client.origin(offered.record), client, offered.record)


def _admit(release: OfferedRelease, data: bytes, keys: Sequence[PublicKey]) -> Firmware:
    """The key of the board releases; firmware is made by an image key, and this host checks both.

    Raises:
        ReleaseInvalid: the image does not verify.
    """
    try:
        return admit(data, keys)
    except ImageRejected as error:
        raise ReleaseInvalid(
            f"the release {release.record.name} is rightly signed, its image is not",
            why=f"{error.what}: {error.why}" if error.why else error.what,
            hint="is the image key in the keyring? if so, tell the release manager",
        ) from error


def require_fresh(origin: ReleaseOrigin | None) -> None:
    """A plan's release must still be vouched for when the plan is run.

    Raises:
        Refused: the metadata has expired since the plan was made; or it had before, and what
            somebody accepted then is over.
    """
    if origin is None or datetime.now(UTC) <= origin.good_until:
        return
    expires = origin.good_until
    if origin.forgiven:
        raise Refused(
            f"the plan's release {origin.release} was taken in an emergency that is over",
            why=f"{origin.by} accepted until {expires:%Y-%m-%d %H:%M}Z that "
            f"{', '.join(origin.forgiven)} of {origin.source} had expired",
            hint="bring fresh metadata, or accept it again: make a new plan",
        )
    raise Refused(
        f"the plan's release {origin.release} is not vouched for any more",
        why=f"the metadata of {origin.source} expired {expires:%Y-%m-%d %H:%M}Z; "
        "the release may have been revoked since",
        hint="make a new plan; `cryofw plan --release` asks the repository again",
    )


def release_wish(
    image: Path | None,
    name: str | None,
    source: str | None,
    accept_expired: tuple[str, ...],
    why: str,
) -> ReleaseWish | None:
    """What the options say; None for a file.

    Raises:
        UsageError: options of a release without one, or both a file and a release.
    """
    if name is None:
        if accept_expired:
            raise UsageError("--accept-expired is for a release", hint="--release VERSION")
        return None
    if image is not None:
        raise UsageError("give either an IMAGE or --release")
    return ReleaseWish(name, source, accept_expired, why)
