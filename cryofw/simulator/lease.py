"""The lease of a device: one owner at a time, and a test boot that ends when the owner is gone.

SMP requests carry no token, so the rules are:
- A lease write with a token below the highest one the device has seen is refused (OLD_TOKEN);
  the highest token is kept in flash, so that also survives resets and power cuts.
- The same token renews the lease of the same owner and rollout; of another one it is refused
  while the lease lives (LEASE_HELD). A higher token takes the lease over: that is what fencing is.
- While a lease lives, other writes (upload, image state, erase, reset, calibrate, safe) are taken
  on the link on which the lease was last written. A link that was opened later has to write the
  lease first. A write that itself carries `token` is judged by it on any link.
- `ttl` 0 gives the lease back; nothing reverts by that.
- A lease that runs out in a test boot resets the device, so that MCUboot reverts; the reset cause
  shows SOFTWARE and USER. If it runs out while the bootloader runs, that happens as soon as the
  application starts. A hung application cannot do it: that is what the watchdog is for.
- A reset keeps the lease (retained RAM), a power cut loses it: the test boot is then over anyway.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cryofw.simulator.failure import INVALID, Answer, Failure
from cryofw.simulator.ram import Lease
from cryofw.simulator.reply import typed_fields
from cryofw.smp import CryoCode, Group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryofw.simulator.board import Board

TIMER = "lease"

_HELD = Failure(CryoCode.LEASE_HELD, Group.CRYO)
_OLD_TOKEN = Failure(CryoCode.OLD_TOKEN, Group.CRYO)


def read_lease(board: Board, _body: Mapping[str, object] | None) -> Answer:
    """Command 5, read: the lease with the seconds left; without one, the highest token seen."""
    lease = board.ram.lease
    left_s = lease.expires_s - board.now_s()
    if left_s <= 0:
        return {"owner": "", "rollout": "", "token": lease.highest_token, "ttl": 0}
    return {
        "owner": lease.owner,
        "rollout": lease.rollout,
        "token": lease.token,
        "ttl": math.ceil(left_s),
    }


def write_lease(board: Board, body: Mapping[str, object] | None, session: int) -> Answer:
    """Command 5, write: take, renew or give back the lease."""
    fields = typed_fields(body, {"owner": str, "rollout": str, "token": int, "ttl": int})
    if fields is None or len(fields) < 4:
        return INVALID
    lease = board.ram.lease
    owner, rollout = str(fields["owner"]), str(fields["rollout"])
    token, ttl = fields["token"], fields["ttl"]
    assert isinstance(token, int)
    assert isinstance(ttl, int)
    if token < lease.highest_token:
        return _OLD_TOKEN
    alive = lease.expires_s > board.now_s()
    if alive and token == lease.token and (owner, rollout) != (lease.owner, lease.rollout):
        return _HELD
    board.ram.timers.pop(TIMER, None)
    if ttl == 0:
        board.ram.lease = Lease(highest_token=token)
    else:
        expires_s = board.now_s() + ttl
        board.ram.lease = Lease(owner, rollout, token, expires_s, session, token)
        board.ram.timers[TIMER] = expires_s
    return read_lease(board, None)


def guard_write(board: Board, body: Mapping[str, object] | None, session: int) -> Failure | None:
    """Refuse a write that does not belong to the holder of the lease."""
    lease = board.ram.lease
    token = None if body is None else body.get("token")
    if isinstance(token, int):
        if token < lease.highest_token:
            return _OLD_TOKEN
        if token == lease.token:
            return None
    if lease.expires_s > board.now_s() and session != lease.session:
        return _HELD
    return None
