"""What people may say to one run of a rollout: at its start, and while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryofw.engine.approval_box import ApprovalBox
from cryofw.engine.policy_change import require_remembered
from cryofw.engine.request_box import AdmittedRequests
from cryofw.errors import CryofwError
from cryofw.rollout import events as e
from cryofw.rollout.signed_act import TAKES_BACK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryofw.engine.authorization import Authorization
    from cryofw.engine.home import Home
    from cryofw.engine.request_box import RequestBox
    from cryofw.journal import Record
    from cryofw.rollout import Event, Plan, RolloutState


class Admission:
    """Lets through what the policy of a rollout allows.

    Args:
        home: where its journal lies.
        plan: of the rollout.
        authorization: its policy.
        on_refused: told about approvals and requests that may not be.
    """

    def __init__(
        self,
        home: Home,
        plan: Plan,
        authorization: Authorization,
        on_refused: Callable[[Event, CryofwError], None],
    ) -> None:
        self._home = home
        self._plan = plan
        self._authorization = authorization
        self._on_refused = on_refused

    def events(
        self, state: RolloutState, records: Sequence[Record], events: Sequence[Event]
    ) -> list[Event]:
        """What the run begins with: what was asked for, and what approvals are worth by now.

        Raises:
            ActRefused, SignatureInvalid: what was asked for may not be.
            Refused: the policy that was in force here is gone.
            VerificationFailed: an approval in the journal is forged.
        """
        now = self._home.now()
        for event in events:
            self._authorization.admit(event, now)
        if state.ending is not None or any(isinstance(one, TAKES_BACK) for one in events):
            return list(events)
        require_remembered(self._home)  # it may revoke what was approved
        voided = self._authorization.recheck(records)
        started = [event for event in events if isinstance(event, e.RolloutStarted)]
        others = [event for event in events if not isinstance(event, e.RolloutStarted)]
        return [*started, *voided, *self._waiting(), *others]

    def _waiting(self) -> list[Event]:
        """Approvals that were given before the plan started, and are not in the journal yet."""
        found: list[Event] = []
        for approval in ApprovalBox(self._home.storage, self._plan.rollout).waiting():
            if self._authorization.is_known(approval):
                continue
            try:
                self._authorization.admit(approval, self._home.now())
            except CryofwError as error:
                self._on_refused(approval, error)
            else:
                found.append(approval)
        return found

    def requests(self) -> RequestBox:
        """What is asked of the rollout while it runs, as far as it may be."""
        return AdmittedRequests(
            self._home.storage,
            self._plan.rollout,
            lambda event: self._authorization.admit(event, self._home.now()),
            self._on_refused,
        )
