"""`cryofw policy`: who may do what in this lab, with which keys, and how many must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cryofw.cli.file import read_file
from cryofw.cli.operator import operator_name
from cryofw.cli.options import PATH, force_option, json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.errors import BadInput, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.trust import Policy


@click.group()
def policy() -> None:
    """Who may do what in this lab, with which keys, and how many must agree.

    A policy is a file that this host pins, or comes with its releases. While one is in force,
    people sign what they do with their ssh keys. See docs/approvals.md.
    """


@policy.command()
@click.argument("path", metavar="FILE", type=PATH)
@json_option
def check(path: Path, as_json: bool) -> None:
    """Check a policy FILE, and show it; nothing is put in force."""
    from cryofw.trust import parse_policy

    parsed = parse_policy(read_file(path, "policy"), str(path))
    _show(parsed, f"{path}: version {parsed.version}", as_json=as_json)


@policy.command()
@click.argument("path", metavar="[FILE]", type=PATH, required=False)
@click.option("--release", "from_releases", is_flag=True, help="The one of the release repository.")
@click.option("--repo", "source", help="Another source of it: directory, https address, bundle.")
@force_option
@state_option
@json_option
def pin(
    path: Path | None,
    from_releases: bool,
    source: str | None,
    force: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Put the policy FILE in force for rollouts that start from now on.

    --release takes `policy.yaml` of the repository that this host trusts instead, and follows it
    with each release that is planned. A policy with a lower version than was seen here is refused,
    and so is a FILE in place of the repository's. The journal remembers which one is in force, and
    without it nothing starts.
    """
    from cryofw.engine.home import Home
    from cryofw.engine.policy_change import put_in_force
    from cryofw.engine.policy_store import RELEASES

    if (path is None) != from_releases:
        raise UsageError("give either a FILE or --release")
    home = Home(state)
    if path is not None:
        data, name = read_file(path, "policy"), str(path.resolve())
    else:
        data, name = _of_releases(home.directory, source), RELEASES
    made = put_in_force(home, data, name, operator_name(), replace=force)
    _show(made.policy, f"in force: version {made.policy.version} from {name}", as_json=as_json)


@policy.command()
@click.option("--why", required=True, help="The reason, for the record.")
@state_option
def unpin(why: str, state: Path) -> None:
    """Take the policy out of force: acts are recorded from now on, and not signed.

    The journal says who did that. A policy that comes with the releases is back with the next one
    that is planned from there.
    """
    from cryofw.engine.home import Home
    from cryofw.engine.policy_change import take_out_of_force

    if not why.strip():
        raise UsageError("this needs a reason", hint="--why TEXT goes into the record")
    take_out_of_force(Home(state), operator_name(), why)
    Output().status(Status.OK, "policy", "none is in force any more")


def _of_releases(state: Path, source: str | None) -> bytes:
    from datetime import UTC, datetime

    from cryofw.engine.policy_store import POLICY_NAME
    from cryofw.journal import FileStorage
    from cryofw.release import ReleaseClient, load_pinned_root

    pinned = load_pinned_root(FileStorage(state))
    where = source or pinned.source
    if not where:
        raise UsageError("which repository?", hint="--repo SOURCE")
    return ReleaseClient(state, where, pinned, datetime.now(UTC)).read_document(POLICY_NAME)


@policy.command()
@state_option
@json_option
def show(state: Path, as_json: bool) -> None:
    """Show the policy in force: people, keys, roles, thresholds, revocations."""
    from cryofw.engine.policy_store import PolicyStore
    from cryofw.journal import FileStorage

    pinned = PolicyStore(FileStorage(state)).pinned()
    if pinned is None:
        raise BadInput(
            "no policy is in force here",
            why="acts are recorded by name, and nobody signs them",
            hint="`cryofw policy pin FILE` puts one in force; docs/approvals.md",
        )
    head = f"in force: version {pinned.policy.version} from {pinned.source}"
    _show(pinned.policy, head, as_json=as_json)


def _show(policy: Policy, head: str, *, as_json: bool) -> None:
    output = Output()
    if as_json:
        output.json(_as_json(policy))
        return
    output.status(Status.OK, "policy", head)
    output.line(f"  digest {policy.digest}")
    for principal in policy.principals.values():
        output.line(f"{principal.name}")
        roles = [role.value for role, names in policy.roles.items() if principal.name in names]
        output.line(f"  roles  {', '.join(roles) or 'none'}")
        for key in principal.keys:
            output.line(f"  key    {key.fingerprint} {key.type}")
    for authority in policy.authorities:
        output.line(f"authority {authority.key.fingerprint}")
        output.line(f"  for    {', '.join(authority.principals)}: {', '.join(authority.roles)}")
    rules = policy.approvals
    for stage, count in rules.stages.items():
        output.line(f"stage {stage} needs {count} approvals")
    output.line(
        f"approvals hold {rules.lifetime_s / 3600:g} h; touch: {rules.touch}; "
        f"the requester {'may' if rules.requester else 'may not'} approve"
    )
    for revoked in policy.revoked:
        output.status(Status.WARNING, "revoked", revoked.text)


def _as_json(policy: Policy) -> dict[str, object]:
    rules = policy.approvals
    return {
        "version": policy.version,
        "digest": policy.digest,
        "principals": {
            one.name: [key.fingerprint for key in one.keys] for one in policy.principals.values()
        },
        "authorities": [
            {
                "key": one.key.fingerprint,
                "principals": list(one.principals),
                "roles": [role.value for role in one.roles],
            }
            for one in policy.authorities
        ],
        "roles": {role.value: list(names) for role, names in policy.roles.items()},
        "approvals": {
            "stages": dict(rules.stages),
            "default": rules.default,
            "lifetime_s": rules.lifetime_s,
            "requester": rules.requester,
            "touch": rules.touch.value,
        },
        "revoked": [
            {"key": one.key, "principal": one.principal, "at": one.at, "why": one.why}
            for one in policy.revoked
        ],
    }
