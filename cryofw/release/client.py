"""Takes releases from a repository: everything is verified against the root of this host.

The TUF workflow is python-tuf's (`Session`); here stands what a lab adds to it: roots that one
person cannot sign, products with sane names, records that fit their images, and the one exception
that an emergency may ask for, named and recorded: expiry.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cryofw import __version__
from cryofw.errors import UsageError
from cryofw.journal import FileStorage, StorageLocked
from cryofw.release.errors import MetadataExpired, ReleaseInvalid, ReleaseRefused
from cryofw.release.forgiveness import Forgiveness
from cryofw.release.origin import FORGIVEN_FOR, ReleaseOrigin
from cryofw.release.record import is_of_newer_cryofw, record_from_custom
from cryofw.release.release_name import LATEST
from cryofw.release.role import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, is_product
from cryofw.release.root import require_sound_root
from cryofw.release.session import LARGEST_TARGET, Session, sync_metadata
from cryofw.release.source import open_source
from cryofw.release.translation import translated
from cryofw.release.trust import METADATA

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tuf.ngclient.fetcher import FetcherInterface

    from cryofw.release.metadata import Signed, TargetFile
    from cryofw.release.record import ReleaseRecord
    from cryofw.release.trust import PinnedRoot

_PATIENCE_S = 60.0
_BEFORE_ANY_EXPIRY = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OfferedRelease:
    """A release as its product's metadata has it: the record, and the file it is bound to."""

    record: ReleaseRecord
    target: TargetFile


class ReleaseClient:
    """Releases of one source, as of `now`.

    Args:
        state: the state directory, where verified metadata is kept.
        source: directory, https address or bundle.
        pinned: the root that this host trusts.
        now: what expiry is compared with.
        forgiveness: expired roles that are accepted.
        fetcher: stands in for `source`.
    """

    def __init__(
        self,
        state: Path,
        source: str,
        pinned: PinnedRoot,
        now: datetime,
        forgiveness: Forgiveness | None = None,
        fetcher: FetcherInterface | None = None,
    ) -> None:
        self._state = state
        self._directory = state / METADATA
        self.source = source
        self._pinned = pinned
        self._now = now
        self._forgiveness = forgiveness or Forgiveness()
        self._fetcher = fetcher
        self._roles: dict[str, Signed] = {}
        self._expired: tuple[str, ...] = ()

    @cached_property
    def session(self) -> Session:
        """The verified session; asked of the source when it is first needed.

        Raises:
            ReleaseInvalid: it does not verify; MetadataExpired: it is too old.
            RepositoryUnusable, SourceUnreachable: there is nothing to verify.
        """
        now = _BEFORE_ANY_EXPIRY if self._forgiveness.roles else self._now
        try:
            with self._alone(), translated(self.source):
                session = self._refresh(self._directory, now)
                products = [session.product(name) for name in self._products(session)]
        except MetadataExpired:
            raise MetadataExpired(self.source, self._all_expired()) from None
        loaded = dict(zip(self._products(session), products, strict=True))
        self._require_fresh(session, loaded)
        sync_metadata(self._directory)
        return session

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """python-tuf's client must be the only one on its directory; another is waited for."""
        with ExitStack() as stack:
            waiting = Retrying(
                retry=retry_if_exception_type(StorageLocked),
                stop=stop_after_delay(_PATIENCE_S),
                wait=wait_fixed(0.1),
                reraise=True,
            )
            waiting(lambda: stack.enter_context(FileStorage(self._state).lock(METADATA)))
            yield

    def _refresh(self, directory: Path, now: datetime) -> Session:
        fetcher = self._fetcher or open_source(self.source)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        session = Session(directory, fetcher, now, self._pinned.data)
        require_sound_root(session.root, "the pinned root")
        session.refresh()
        require_sound_root(session.root, f"the root of {self.source}")
        return session

    def _products(self, session: Session) -> list[str]:
        delegations = session.top_targets.delegations
        names = list(delegations.roles or ()) if delegations else []
        for name in names:
            if not is_product(name):
                raise ReleaseInvalid(
                    f"{self.source} delegates to a role that is no product",
                    why=f"its name is {name[:80]!r}, which could lead out of a directory",
                    hint="tell whoever publishes there; nothing of it was used",
                )
        return names

    def _require_fresh(self, session: Session, products: Mapping[str, Signed]) -> None:
        """What the forgiveness does not name must not have expired."""
        roles = _roles(session, products)
        unknown = [role for role in self._forgiveness.roles if role not in roles]
        if unknown:
            raise UsageError(
                f"{self.source} has no role {unknown[0]!r} whose expiry could be accepted",
                why=f"it has {', '.join(roles)}",
            )
        expired = {role: s.expires for role, s in roles.items() if s.is_expired(self._now)}
        unforgiven = {r: when for r, when in expired.items() if r not in self._forgiveness.roles}
        if unforgiven:
            raise MetadataExpired(self.source, unforgiven)
        self._roles, self._expired = roles, tuple(expired)

    def look(self) -> dict[str, Signed]:
        """The metadata of each role, verified but for its expiry; nothing is kept of it.

        For people who want to know how things stand; no release is taken so.

        Raises:
            ReleaseInvalid, RepositoryUnusable, SourceUnreachable: as `session`.
        """
        with tempfile.TemporaryDirectory(prefix="cryofw-") as scratch, translated(self.source):
            copy = Path(scratch, "metadata")
            if self._directory.is_dir():
                shutil.copytree(self._directory, copy, symlinks=True)
            session = self._refresh(copy, _BEFORE_ANY_EXPIRY)
            return _roles(session, {n: session.product(n) for n in self._products(session)})

    def _all_expired(self) -> dict[str, datetime]:
        """Every role that has expired, not only the first one met."""
        return {r: s.expires for r, s in self.look().items() if s.is_expired(self._now)}

    @property
    def products(self) -> list[str]:
        """The products of the repository."""
        return self._products(self.session)

    @property
    def roles(self) -> dict[str, Signed]:
        """The verified metadata of each role."""
        assert self.session is not None
        return dict(self._roles)

    def releases(self, product: str) -> list[OfferedRelease]:
        """All releases of a product that this cryofw can read, revoked ones too, the latest last.

        Raises:
            ReleaseInvalid: one of them has a record that cannot be used.
            ReleaseRefused: there is no such product.
        """
        session = self.session
        if product not in self._products(session):
            raise ReleaseRefused(
                f"{self.source} has no releases for the board {product!r}",
                why=f"its products are {', '.join(self._products(session)) or 'none'}",
                hint="is it the right repository, and the right board in fleet.yaml?",
            )
        with translated(self.source):
            targets = session.product(product).targets
        offered = []
        for path, target in targets.items():
            if path.endswith(".bin") and not is_of_newer_cryofw(target.custom):
                offered.append(OfferedRelease(record_from_custom(path, target.custom), target))
        for each in offered:
            if each.record.product != product:
                raise ReleaseInvalid(
                    f"the key of {product} signed a release of another board",
                    why=f"{each.record.name} on {self.source}",
                    hint="tell whoever publishes there; nothing of it was used",
                )
        numbers = [each.record.number for each in offered]
        if len(set(numbers)) != len(numbers):
            raise ReleaseInvalid(
                f"two releases of {product} on {self.source} have the same number",
                hint="tell whoever publishes there; nothing of it was used",
            )
        return sorted(offered, key=lambda each: each.record.number)

    def choose(self, product: str, version: str) -> OfferedRelease:
        """The release that may be rolled out: one version, or the latest that is not revoked.

        Raises:
            ReleaseRefused: there is none, it is revoked, or it is for another cryofw.
        """
        offered = self.releases(product)
        if version == LATEST:
            found = [each for each in offered if each.record.revoked is None][-1:]
        else:
            found = [each for each in offered if each.record.version == version]
        if not found:
            self._require_readable(product, version)
            names = " ".join(e.record.version for e in offered if e.record.revoked is None)
            raise ReleaseRefused(
                f"{self.source} has no release {product}/{version}",
                why=f"it has {names or 'none that is not revoked'}",
                hint="`cryofw release list` shows them all",
            )
        found[0].record.require_usable(__version__)
        return found[0]

    def _require_readable(self, product: str, version: str) -> None:
        path = f"{product}/{version}.bin"
        target = self.session.product(product).targets.get(path)
        if target is not None:
            record_from_custom(path, target.custom)

    def read(self, release: OfferedRelease) -> bytes:
        """The image of a release, as its metadata names it, byte for byte.

        Raises:
            ReleaseInvalid: the source gives another file, or one that no slot could hold.
        """
        return self._read(release.target)

    def read_document(self, path: str) -> bytes:
        """A target that is no release, such as a policy: verified bytes.

        Raises:
            ReleaseRefused: the repository has none of that path.
            ReleaseInvalid: the source gives another file.
        """
        with translated(self.source):
            target = self.session.get_targetinfo(path)
        if target is None:
            raise ReleaseRefused(f"{self.source} has no file {path!r}")
        return self._read(target)

    def _read(self, target: TargetFile) -> bytes:
        if target.length > LARGEST_TARGET:
            raise ReleaseInvalid(
                f"{target.path} of {self.source} is said to be larger than any image",
                why=f"{target.length} bytes, more than {LARGEST_TARGET}",
                hint="tell whoever publishes there; nothing of it was used",
            )
        with translated(self.source, target.path):
            return self.session.read_target(target)

    def with_hash(self, hashes: Collection[str]) -> list[OfferedRelease]:
        """The releases behind these image hashes, revoked ones too: they may be a way back."""
        return [
            each
            for product in self.products
            for each in self.releases(product)
            if each.record.hash in hashes
        ]

    def origin(self, record: ReleaseRecord) -> ReleaseOrigin:
        """What was verified, for the plan and the journal."""
        roles = {r: s for r, s in self.roles.items() if not is_product(r) or r == record.product}
        forgiven = tuple(role for role in self._expired if role in roles)
        others = [signed.expires for role, signed in roles.items() if role not in forgiven]
        until = min([self._now + FORGIVEN_FOR, *others])
        return ReleaseOrigin(
            source=self.source,
            root=self._pinned.fingerprint,
            release=record.name,
            number=record.number,
            versions={role: signed.version for role, signed in roles.items()},
            expires=f"{min(s.expires for s in roles.values()):%Y-%m-%dT%H:%M:%SZ}",
            rolls_back=record.rolls_back,
            forgiven=forgiven,
            by=self._forgiveness.by if forgiven else "",
            why=self._forgiveness.why if forgiven else "",
            forgiven_until=f"{until:%Y-%m-%dT%H:%M:%SZ}" if forgiven else "",
        )


def _roles(session: Session, products: Mapping[str, Signed]) -> dict[str, Signed]:
    return {
        ROOT: session.root,
        TIMESTAMP: session.timestamp,
        SNAPSHOT: session.snapshot,
        TARGETS: session.top_targets,
        **products,
    }
