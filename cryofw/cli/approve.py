"""`cryofw approve`: a person lets a stage start; under a policy, with their ssh key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryofw.cli.approvalfile import read_proof, write_statement
from cryofw.cli.authority import Authority, require_role
from cryofw.cli.file import read_file
from cryofw.cli.options import PATH, force_option, json_option, state_option
from cryofw.cli.output import Output, Status
from cryofw.cli.rolloutrun import tell_or_do
from cryofw.cli.suggestion import did_you_mean
from cryofw.engine.home import Home
from cryofw.errors import Refused, UsageError
from cryofw.rollout import events as e
from cryofw.rollout import parse_plan
from cryofw.trust.statement import Role, parse_statement

if TYPE_CHECKING:
    from cryofw.engine.approval_box import ApprovalBox
    from cryofw.rollout import Plan, RolloutState
    from cryofw.rollout.approval_state import Approvals
    from cryofw.trust import Proof


@dataclass(frozen=True)
class _Subject:
    """What is approved; `state` is None for a plan that has not started."""

    home: Home
    plan: Plan
    state: RolloutState | None
    stage: str


@click.command()
@click.argument("plan", required=False, metavar="[PLAN|ROLLOUT]")
@click.option("--stage", metavar="NAME", default="", help="The stage that may start.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option(
    "--statement",
    type=PATH,
    metavar="FILE",
    help="Do not sign here: write what is to be signed. With --signature: what was signed.",
)
@click.option("--signature", type=PATH, metavar="FILE", help="Take this signature, made elsewhere.")
@click.option("--as", "principal", default="", help="Who will sign the --statement.")
@force_option
@state_option
@json_option
def approve(
    plan: str | None,
    stage: str,
    why: str,
    statement: Path | None,
    signature: Path | None,
    principal: str,
    force: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Approve the start of a stage of a PLAN file, or of a ROLLOUT (default: the latest).

    Where a policy is in force your ssh key signs, without --stage for the next one that needs it:
    from a file (CRYOFW_SSH_KEY), the agent, or a FIDO token that you touch; an approval is for
    one stage of one plan, and expires.

    With a key that this computer cannot reach: `--statement FILE --as YOU` here, then there
    `ssh-keygen -Y sign -n cryofw-approval@v1 -f KEY FILE`, then here
    `--statement FILE --signature FILE.sig`.
    """
    if signature is not None:
        if statement is None:
            raise UsageError("which statement was signed?", hint="--statement FILE")
        said = parse_statement(read_file(statement, "statement"), str(statement))
        plan, stage = plan or said.rollout, stage or said.subject
    subject = _subject(Home(state), plan, stage)
    if subject.plan.policy is None:
        if statement is not None:
            raise UsageError("without a policy approvals are recorded, not signed")
        _record_plainly(subject, why)
        return
    output = Output()
    if signature is not None:
        assert statement is not None
        _take(subject, read_proof(statement, signature), as_json=as_json)
    elif statement is not None:
        write_statement(
            subject.home,
            subject.plan,
            subject.stage,
            statement,
            principal,
            why,
            plan_file=plan or "",
            force=force,
        )
    else:
        if not as_json:
            _tell(output, subject)
        by = require_role(subject.home, Role.APPROVE, subject.stage, plan=subject.plan, why=why)
        _take(subject, _proof_of(by), as_json=as_json)


def _subject(home: Home, name: str | None, stage: str) -> _Subject:
    """The plan and its stage.

    Raises:
        UsageError: no such stage, or none that needs an approval.
        Refused: the rollout has ended, or the stage has started.
    """
    plan = None
    if name is not None and Path(name).is_file():
        plan = parse_plan(read_file(Path(name), "plan"), name)
        if plan.rollout not in home.history().rollouts:
            return _Subject(home, plan, None, _stage(home, plan, None, stage))
    elif name is not None and Path(name).suffix:  # of a rollout no name has one
        read_file(Path(name), "plan")
    summary = home.find(plan.rollout if plan else name)
    if summary.ended is not None:
        raise Refused(
            f"rollout {summary.rollout} has ended: {summary.ended}",
            why=summary.why,
            hint="`cryofw rollback` takes a confirmed release back",
        )
    plan = home.load_plan(summary)
    state = home.fold_rollout(plan, home.records(), home.readings(plan.rollout)).state
    return _Subject(home, plan, state, _stage(home, plan, state, stage))


def _stage(home: Home, plan: Plan, state: RolloutState | None, stage: str) -> str:
    names = [planned.name for planned in plan.stages]
    index = state.stage_index if state else -1
    if not stage and plan.policy is None:
        hint = f"--stage NAME; its stages are {', '.join(names)}"
        raise UsageError("which stage is approved?", hint=hint)
    if not stage:
        wanted = [name for name in names[index + 1 :] if _needed(home, plan, state, name)]
        if not wanted:
            raise UsageError(
                f"no stage of {plan.rollout} needs an approval", why=f"it has {', '.join(names)}"
            )
        return wanted[0]
    if stage not in names:
        raise UsageError(
            f"no stage {stage!r} in rollout {plan.rollout}",
            why=f"its stages are {', '.join(names)}",
            hint=did_you_mean(stage, names),
        )
    if names.index(stage) <= index:
        raise Refused(
            f"stage {stage} of {plan.rollout} has started already",
            hint="`cryofw status` shows how far it is; `cryofw abort` ends it",
        )
    return stage


def _needed(home: Home, plan: Plan, state: RolloutState | None, stage: str, also: str = "") -> int:
    """How many approvals a stage still needs, besides that of `also`."""
    approvals = state.approvals if state else _waiting(home, plan)
    names = [planned.name for planned in plan.stages]
    at = names.index(stage)
    needed = approvals.needed(plan.stages[at], plan.stages[at - 1] if at else None)
    given = {*approvals.standing(stage, home.now().timestamp()), *([also] if also else [])}
    return max(0, needed - len(given))


def _waiting(home: Home, plan: Plan) -> Approvals:
    """What has been approved of a plan that has not started."""
    from cryofw.engine.approval_box import ApprovalBox
    from cryofw.rollout.approval_state import Approvals

    approvals = Approvals(plan)
    if authorization := home.authorization(plan):
        for event in ApprovalBox(home.storage, plan.rollout).counting(authorization, home.now()):
            approvals.take(event)
    return approvals


def _record_plainly(subject: _Subject, why: str) -> None:
    from cryofw.cli.operator import operator_name

    if subject.state is None:
        raise Refused(
            f"the plan of {subject.plan.rollout} has not started",
            why="without a policy approvals are recorded in the journal of a rollout",
            hint="`cryofw deploy --plan FILE`, and approve when it waits for it",
        )
    _say(subject, e.StageApproved(subject.stage, operator_name(), why))


def _say(subject: _Subject, event: e.StageApproved, *, as_json: bool = False) -> None:
    """Into the journal, or to the process that runs the rollout."""
    plan = subject.plan

    def record() -> None:
        subject.home.record(plan, event, event.by)
        _tell_done(subject, event, as_json=as_json)

    tell_or_do(subject.home, plan.rollout, event, record)


def _tell_done(subject: _Subject, event: e.StageApproved, *, as_json: bool) -> None:
    output = Output()
    left = _needed(subject.home, subject.plan, subject.state, event.stage, event.by)
    if as_json:
        output.json(
            {
                "rollout": subject.plan.rollout,
                "stage": event.stage,
                "by": event.by,
                "still_needed": left,
            }
        )
        return
    output.status(
        Status.OK, "approved", f"stage {event.stage} of {subject.plan.rollout} by {event.by}"
    )
    if subject.plan.policy is not None and left:
        output.line(f"  {left} more must approve it")
    elif subject.state is None:
        output.line("  next: `cryofw deploy --plan FILE`")
    else:
        output.line("  next: `cryofw resume`")


def _proof_of(by: Authority) -> Proof:
    from cryofw.trust import Proof

    proof = Proof.of(dict(by.proof))
    assert proof is not None, "a policy is in force"
    return proof


def _take(subject: _Subject, proof: Proof, *, as_json: bool) -> None:
    """Check a signed approval and keep it: in the journal, or beside it until the plan starts.

    Raises:
        ActRefused, SignatureInvalid: it does not count.
    """
    from cryofw.engine.approval_box import ApprovalBox, approval_event

    event = approval_event(proof)
    box = ApprovalBox(subject.home.storage, subject.plan.rollout)
    _check(subject, event, box)
    if subject.state is not None:
        _say(subject, event, as_json=as_json)
        return
    box.put(parse_statement(proof.statement.encode()), proof)
    _tell_done(subject, event, as_json=as_json)


def _check(subject: _Subject, event: e.StageApproved, box: ApprovalBox) -> None:
    """Told here already, and not only to the process that runs the rollout."""
    if event.stage != subject.stage:
        raise Refused(
            f"the statement approves stage {event.stage!r}, not {subject.stage}",
            hint=f"--stage {event.stage}, if that is what you mean",
        )
    authorization = subject.home.authorization(subject.plan)
    assert authorization is not None, "a policy is in force"
    now = subject.home.now()
    if subject.state is None and event in box.counting(authorization, now):
        return  # given again, the same one: it is kept once
    authorization.admit(event, now)


def _tell(output: Output, subject: _Subject) -> None:
    """What is about to be signed, in short; the plan has all of it."""
    plan = subject.plan
    devices = plan.stage(subject.stage).devices
    output.line(f"{plan.rollout}  stage {subject.stage}: {plan.release.version} for the devices")
    output.line(f"  {' '.join(devices)}")
    output.line(
        f"  image {plan.release.hash[:16]}, plan {plan.digest[:16]}, asked by {plan.requester}"
    )
    for kind, names in plan.overrides.items():
        output.status(Status.WARNING, "risk", f"{kind}: {' '.join(names)}")
