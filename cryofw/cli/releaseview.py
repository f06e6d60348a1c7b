"""`cryofw release list` and `status`: a repository, as its publisher or as a lab sees it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cryofw.cli.options import PATH, json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.errors import VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.release import ReleaseRecord, Repository
    from cryofw.release.metadata import Signed

DEFAULT_REPO = "releases"

repo_directory_option = click.option(
    "--repo",
    type=PATH,
    envvar="CRYOFW_REPO",
    default=Path(DEFAULT_REPO),
    show_default=True,
    show_envvar=True,
    help="Directory of the repository.",
)
repo_source_option = click.option(
    "--repo",
    "source",
    metavar="SOURCE",
    envvar="CRYOFW_REPO",
    show_envvar=True,
    help="Directory, https address or bundle. [default: what `release trust` was told]",
)


class _Shown(NamedTuple):
    """What can be said about a repository: roles, and records by product."""

    name: str
    roles: Mapping[str, Signed]
    records: Mapping[str, Mapping[str, ReleaseRecord]]
    staged: Mapping[str, Mapping[str, ReleaseRecord]]
    waiting: tuple[str, ...]


@click.command("list")
@repo_source_option
@state_option
@json_option
def list_releases(source: str | None, state: Path, as_json: bool) -> None:
    """List the releases of every board, the latest last, with what was revoked and why."""
    shown = _look(source, state)
    output = Output()
    rows = [_row(shown, record) for record in _in_order(shown)]
    if as_json:
        output.json(rows)
        return
    if not rows:
        output.line(f"{shown.name} has no release yet; `cryofw release add IMAGE` stages one")
        return
    output.table(
        ["number", "release", "counter", "host", "commit", "released", "state"],
        [
            [
                str(row["number"]),
                row["release"],
                "-" if row["security_counter"] is None else str(row["security_counter"]),
                row["host"] or "any",
                row["commit"][:12] or "-",
                row["released"][:10],
                row["state"] + (f": {row['note']}" if row["note"] else ""),
            ]
            for row in rows
        ],
    )


@click.command()
@repo_source_option
@click.option("--warn-days", type=int, default=30, show_default=True, help="Warn so long before.")
@state_option
@json_option
def status(source: str | None, warn_days: int, state: Path, as_json: bool) -> None:
    """Show each role: its version, its keys, and when it expires.

    Warns --warn-days before an expiry; ends with 4 after one.
    """
    shown = _look(source, state)
    now = datetime.now(UTC)
    rows = [_role_row(role, signed, shown, now) for role, signed in shown.roles.items()]
    expired = [row["role"] for row in rows if row["days_left"] < 0]
    soon = [row["role"] for row in rows if 0 <= row["days_left"] < warn_days]
    output = Output()
    if as_json:
        output.json(
            {"repository": shown.name, "roles": rows, "expired": expired, "soon": soon,
             "staged": list(shown.waiting)}
        )  # fmt: skip
    else:
        _show_status(output, shown, rows, warn_days)
    if expired:
        raise VerificationFailed(
            f"{' '.join(expired)} of {shown.name} expired: labs refuse it",
            hint=f"the publisher runs `{_refresh(expired)}`",
        )


def _show_status(output: Output, shown: _Shown, rows: list[dict[str, Any]], warn_days: int) -> None:
    output.line(shown.name)
    output.table(
        ["role", "version", "keys", "expires"],
        [
            [row["role"], str(row["version"]), row["keys"], _expiry(output, row, warn_days)]
            for row in rows
        ],
    )
    soon = [row["role"] for row in rows if 0 <= row["days_left"] < warn_days]
    if soon:
        what = f"{' '.join(soon)}: `{_refresh(soon)}` in time; "
        what += "labs without a network need a new bundle then"
        output.status(Status.WARNING, "soon", what)
    for waits in shown.waiting:
        output.status(Status.RUNNING, "staged", f"{waits}; `cryofw release publish`")


def _expiry(output: Output, row: dict[str, Any], warn_days: int) -> str:
    left = row["days_left"]
    day = row["expires"][:10]
    if left < 0:
        return output.mark(Status.FAILED, f"{day}, expired")
    return output.mark(
        Status.WARNING if left < warn_days else Status.OK, f"{day}, {left} days left"
    )


def _refresh(roles: list[str]) -> str:
    """The command that renews them; snapshot and timestamp need no name."""
    named = [role for role in roles if role not in ("snapshot", "timestamp")]
    return " ".join(["cryofw release refresh", *named])


def _look(source: str | None, state: Path) -> _Shown:
    """A directory as its publisher sees it; anything else, and it too, as this lab verifies it."""
    from cryofw.errors import Refused
    from cryofw.journal import FileStorage
    from cryofw.release import load_pinned_root

    pinned = None
    try:
        pinned = load_pinned_root(FileStorage(state))
    except Refused:
        if source is not None and not Path(source).is_dir():
            raise
    place = source or (pinned.source if pinned else "") or DEFAULT_REPO
    if pinned is None:
        return _of_publisher(place)
    from cryofw.release import ReleaseClient
    from cryofw.release.role import in_order

    found = ReleaseClient(state, place, pinned, datetime.now(UTC)).look()
    roles = {role: found[role] for role in in_order(found)}
    if Path(place).is_dir():
        return _of_publisher(place)
    return _Shown(place, roles, _records(roles), {}, ())


def _of_publisher(place: str) -> _Shown:
    from cryofw.journal import FileStorage
    from cryofw.release import Repository
    from cryofw.release.role import in_order

    repository = Repository(FileStorage(place), datetime.now(UTC), place)
    published = repository.require_published().by_role
    roles = {role: published[role].signed for role in in_order(published)}
    staged = {role: each.signed for role, each in repository.staged.items()}
    return _Shown(place, roles, _records(roles), _records(staged), _waiting(repository))


def _waiting(repository: Repository) -> tuple[str, ...]:
    roots = tuple(f"root {root.signed.version}" for root in repository.staged_roots)
    return roots + tuple(f"{r} {m.signed.version}" for r, m in repository.staged.items())


def _records(roles: Mapping[str, Any]) -> dict[str, dict[str, ReleaseRecord]]:
    from cryofw.release import records_of
    from cryofw.release.role import is_product

    return {role: records_of(signed) for role, signed in roles.items() if is_product(role)}


def _in_order(shown: _Shown) -> list[ReleaseRecord]:
    products = sorted({**shown.records, **shown.staged})
    return [
        record
        for product in products
        for record in sorted(
            {**shown.records.get(product, {}), **shown.staged.get(product, {})}.values(),
            key=lambda record: record.number,
        )
    ]


def _row(shown: _Shown, record: ReleaseRecord) -> dict[str, Any]:
    from cryofw.release import latest_of

    published = shown.records.get(record.product, {})
    state, note = "", f"takes back {record.rolls_back}" if record.rolls_back else ""
    if record.revoked is not None:
        state, note = "revoked", f"{record.revoked.why} ({record.revoked.by})"
    elif latest_of(published) == record:
        state = "latest"
    if published.get(record.version) != record:
        state = f"staged {state}".strip()
    return {
        "number": record.number,
        "release": record.name,
        "version": record.version,
        "product": record.product,
        "hash": record.hash,
        "security_counter": record.security_counter,
        "host": record.host,
        "commit": record.commit,
        "released": record.released,
        "by": record.by,
        "why": record.why,
        "state": state,
        "note": note,
    }


def _role_row(role: str, signed: Signed, shown: _Shown, now: datetime) -> dict[str, Any]:
    from cryofw.release import keys_of_role

    names, threshold = keys_of_role(role, shown.roles)
    return {
        "role": role,
        "version": signed.version,
        "keys": f"{threshold} of {', '.join(names)}",
        "expires": f"{signed.expires:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": (signed.expires - now).days,
    }
