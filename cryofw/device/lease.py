"""The lease on a device: who may change it, until when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryofw.device.errors import DeviceSilent, LeaseRefused, RequestFailed
from cryofw.device.examination import require_application
from cryofw.device.rejection import rejection, unsupported
from cryofw.smp import messages

if TYPE_CHECKING:
    from cryofw.device.examination import Examiner
    from cryofw.device.link import Link
    from cryofw.device.target import Target
    from cryofw.smp import Request, Response


_LOOKS = 3


@dataclass(frozen=True)
class LeaseState:
    """A lease as the device holds it.

    Attributes:
        owner: who took it ("" : nobody ever).
        rollout: for which rollout.
        token: fencing token; writes under an older one are refused.
        left_s: seconds until it runs out; 0: nobody holds it.
    """

    owner: str
    rollout: str
    token: int
    left_s: int

    @classmethod
    def of(cls, lease: messages.Lease) -> LeaseState:
        """Take over what a device answered."""
        return cls(lease.owner, lease.rollout, lease.token, lease.ttl_s)

    @property
    def alive(self) -> bool:
        """Somebody holds it."""
        return self.left_s > 0

    def held_by(self, owner: str, rollout: str, token: int) -> bool:
        """It is this very lease, and alive."""
        return self.alive and (self.owner, self.rollout, self.token) == (owner, rollout, token)


def require_takeable(state: LeaseState, device: str, owner: str, rollout: str, token: int) -> None:
    """Refuse to take a lease that another living owner holds, or under an old token.

    The same owner may take its rollout's lease again under the same or a newer token.

    Raises:
        LeaseRefused: it names the holder.
    """
    ours = (state.owner, state.rollout) == (owner, rollout)
    if state.alive and not ours:
        raise LeaseRefused(
            f"{device} is leased to someone else",
            why=f"{state.owner} drives it for rollout {state.rollout} "
            f"(token {state.token}, {state.left_s} s left)",
            hint="wait until that rollout has ended, or until its lease has run out.",
        )
    if token < state.token:
        raise LeaseRefused(
            f"the lease on {device} cannot be taken under token {token}",
            why=f"the device has seen token {state.token} from {state.owner or 'someone'}: "
            "a newer run took over",
            hint="continue the newer run; this one is over.",
        )


class Tenancy:
    """Takes, renews and gives back the lease on one device."""

    def __init__(self, target: Target, link: Link, examiner: Examiner) -> None:
        self._target = target
        self._examiner = examiner
        self._ours: Request | None = None
        self._link = link

    async def read(self) -> LeaseState | None:
        """Return the lease as the device holds it; None if it knows none (no group 64).

        Raises:
            InRecovery: serial recovery answers, which knows no lease whatever the device holds.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        answer = await self._link.request(messages.read_lease())
        for _ in range(_LOOKS):
            if not unsupported(answer.error):
                return self._state_of(answer)
            # Only an application can say so: the same one before and after it answered.
            before = await self._examiner.observe()
            require_application(before, self._target.name)
            answer = await self._link.request(messages.read_lease())
            after = await self._examiner.observe()
            if unsupported(answer.error) and before.boot_id == after.boot_id:
                require_application(after, self._target.name)
                return None
        raise DeviceSilent(
            f"{self._target.name} boots again and again",
            why="whether it knows a lease could not be read within one boot",
            hint="look at its power and at its log lines",
        )

    def _state_of(self, answer: Response) -> LeaseState:
        if answer.error is not None:
            raise rejection(self._target.name, "tell its lease", answer.error)
        return LeaseState.of(messages.Lease.from_body(answer.body))

    async def take(self, owner: str, rollout: str, token: int, ttl_s: int) -> LeaseState | None:
        """Read the lease, take it if it is free or ours, read it back; None without group 64.

        Raises:
            LeaseRefused: another living owner holds it, or a newer run took over.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        state = await self.read()
        if state is None:
            return None
        require_takeable(state, self._target.name, owner, rollout, token)
        return await self.renew(owner, rollout, token, ttl_s)

    async def renew(self, owner: str, rollout: str, token: int, ttl_s: int) -> LeaseState:
        """Write the lease again and read it back.

        Raises:
            LeaseRefused: someone else has it now.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        # Writing the same lease twice leaves the same lease, so a lost answer may be repeated.
        await self._write(messages.write_lease(owner, rollout, token, ttl_s))
        state = await self.read()
        if state is None or not state.held_by(owner, rollout, token):
            raise LeaseRefused(
                f"the lease on {self._target.name} was not given",
                why=f"it is held by {state.owner or 'nobody'}" if state else "the device has none",
                hint="does a second host drive this device?",
            )
        self._ours = messages.write_lease(owner, rollout, token, ttl_s)
        return state

    async def release(self, owner: str, rollout: str, token: int) -> None:
        """Give the lease back if it is ours; somebody else's is left alone.

        Raises:
            LeaseRefused: the device refused.
            DeviceSilent, DeviceUnreachable: no answer.
        """
        self._ours = None
        state = await self.read()
        if state is not None and state.held_by(owner, rollout, token):
            await self._write(messages.release_lease(owner, rollout, token))

    async def reassert(self, connection: int) -> None:
        """Write our lease, if we hold one, as the first thing on a new connection.

        A device takes other writes only on the link on which its lease was written last.

        Raises:
            LeaseRefused: someone else has it now.
            ConnectionChanged: `connection` is over.
        """
        if self._ours is None:
            return
        answer = await self._link.request(self._ours, connection=connection)
        if answer.error is not None and not unsupported(answer.error):
            refused = rejection(self._target.name, "give its lease again", answer.error)
            raise LeaseRefused(refused.what, why=refused.why, hint=refused.hint)

    async def _write(self, request: Request) -> None:
        try:
            await self._examiner.command(request, "give its lease")
        except RequestFailed as error:
            raise LeaseRefused(error.what, why=error.why, hint=error.hint) from error
