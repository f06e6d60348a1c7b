"""What a person takes on themselves for one device of a rollout. As `events`: one record each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryofw.rollout.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DeviceAccepted(Event):
    """A person accepts, by name, a held device: the evidence decides nothing, they do.

    It is confirmed by the usual fresh read, unless it is no longer held, or its verdict has become
    Failed: then nothing follows. `role` is what a policy let them do it as, and `proof` what they
    signed; empty without one. `control` says that others may be compared with it.
    """

    kind = "device-accepted"
    device: str
    by: str
    why: str
    role: str = ""
    proof: Mapping[str, object] = field(default_factory=dict)
    control: bool = False
