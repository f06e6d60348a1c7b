"""Is a device silent alone? Its peers, which nobody updated, tell.

A USB hub that lost its power or a terminal server that hangs silences updated devices and their
controls alike. That says nothing about the firmware, and a mass rollback would be wrong.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from cryofw.rollout.cohorts import UNTOUCHED

if TYPE_CHECKING:
    from cryofw.rollout.progress import DeviceProgress
    from cryofw.rollout.state import RolloutState

_PATIENCE = 4.0
"""Heartbeat intervals that peers get to answer or to miss, once an alarm was raised."""


class Silence(StrEnum):
    """Whose silence it is."""

    OWN = "own"
    SHARED = "shared"
    UNKNOWN = "unknown"


def peers_of(state: RolloutState, device: DeviceProgress) -> list[DeviceProgress]:
    """Untouched devices of its cryostat; its controls elsewhere where there are none.

    Of one that was mute already while the device still answered, nothing can be learned.
    """
    return [p for p in _untouched(state, device) if not _mute_before(p, device)]


def _untouched(state: RolloutState, device: DeviceProgress) -> list[DeviceProgress]:
    near = [
        p
        for p in state.inhabitants(device.planned.cryostat)
        if p.state in UNTOUCHED and not p.sent and p.running_hash
    ]
    far = state.members(state.cohorts.peers(device.name))
    return near or [p for p in far if p.state in UNTOUCHED and not p.sent]


def _mute_before(peer: DeviceProgress, device: DeviceProgress) -> bool:
    """The device answered when the silence of `peer` had lasted for two of its beats already."""
    since_t_s, watch = peer.watch.heartbeats.missed_since_t_s, device.watch
    # In its test boot it was heard when that began.
    heard_t_s = watch.heartbeats.heard_t_s or watch.started_t_s
    if since_t_s is None or heard_t_s is None:
        return False
    return heard_t_s - since_t_s > 2 * peer.planned.evidence.heartbeat_every_s


def silence(state: RolloutState, device: DeviceProgress) -> Silence:
    """Whose silence the alarm of `device` is about."""
    since_t_s, peers = device.watch.heartbeats.missed_since_t_s, peers_of(state, device)
    if since_t_s is None or not peers:
        return Silence.OWN
    if 2 * len(_mute(peers)) >= len(peers):
        return Silence.SHARED
    if all(_heard_since(p, since_t_s) or p in _mute(peers) for p in peers):
        return Silence.OWN
    waited_s = (device.watch.latest_t_s or since_t_s) - since_t_s
    beats = device.watch.heartbeats.missed_in_a_row
    every_s = device.planned.evidence.heartbeat_every_s
    late = waited_s > every_s * _PATIENCE and beats > _PATIENCE * 2
    return Silence.OWN if late else Silence.UNKNOWN


def ended(state: RolloutState, device: DeviceProgress) -> str:
    """Why a common cause is over; empty while it lasts."""
    heartbeats = device.watch.heartbeats
    if heartbeats.missed_since_t_s is None:
        return "it answers again"
    peers = peers_of(state, device)
    if peers and 2 * len(_mute(peers)) < len(peers):
        names = ", ".join(p.name for p in peers)
        return f"its controls answer again ({names}); its own silence counts from here"
    return ""


def words(state: RolloutState, device: DeviceProgress) -> tuple[str, dict[str, object]]:
    """The finding in a sentence, and its numbers."""
    peers = peers_of(state, device)
    mute = _mute(peers)
    why = (
        f"silent together with {', '.join(p.name for p in mute)}, which run their old firmware: a "
        "common cause, such as a hub, a cable or the host, and no verdict on the firmware"
    )
    misses = {p.name: p.watch.heartbeats.missed_in_a_row for p in [device, *peers]}
    return why, {"missed_in_a_row": misses}


def _mute(peers: list[DeviceProgress]) -> list[DeviceProgress]:
    return [p for p in peers if p.watch.heartbeats.missed_in_a_row > 1]


def _heard_since(peer: DeviceProgress, t_s: float) -> bool:
    heard_t_s = peer.watch.heartbeats.heard_t_s
    return heard_t_s is not None and heard_t_s > t_s
