"""An approval whose key is elsewhere: the statement goes there, the signature comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.cli.authority import make_statement
from cryofw.cli.file import read_file, write_file
from cryofw.cli.output import Output, Status
from cryofw.errors import UsageError
from cryofw.trust.statement import APPROVAL_NAMESPACE, Role, parse_statement

if TYPE_CHECKING:
    from pathlib import Path

    from cryofw.engine.home import Home
    from cryofw.rollout import Plan
    from cryofw.trust import Proof


def read_proof(statement: Path, signature: Path) -> Proof:
    """A statement with its signature; nothing of it is checked but the form.

    Raises:
        BadInput: one of them is not what it should be.
    """
    from cryofw.trust import Proof, parse_signature

    text = read_file(statement, "statement")
    parse_statement(text, str(statement))
    armored = read_file(signature, "signature").decode("ascii", "replace")
    return Proof(text.decode(), armored, parse_signature(armored).key.fingerprint)


def write_statement(
    home: Home,
    plan: Plan,
    stage: str,
    path: Path,
    principal: str,
    why: str,
    *,
    plan_file: str,
    force: bool,
) -> None:
    """Write what an approver signs elsewhere, and say how; `plan_file` names the plan, if any.

    Raises:
        UsageError: it was not said who will.
        ActRefused: they may not approve.
    """
    from cryofw.engine.policy_store import PolicyStore
    from cryofw.trust import require_role

    if not principal:
        raise UsageError("who will sign it?", hint="--as PRINCIPAL, by the name in the policy")
    policy = PolicyStore(home.storage).of_plan(plan)
    assert policy is not None
    require_role(policy, principal, Role.APPROVE)
    made = make_statement(
        home, policy, Role.APPROVE, stage, principal, plan=plan, why=why, now=home.now()
    )
    write_file(path, made.canonical, force=force)
    output = Output()
    output.status(Status.OK, "to sign", f"{path}, until {made.expires}")
    output.line(f"  ssh-keygen -Y sign -n {APPROVAL_NAMESPACE} -f KEY {path}")
    of = f"{plan_file} " if plan_file else ""
    output.line(f"  then: cryofw approve {of}--statement {path} --signature {path}.sig")
