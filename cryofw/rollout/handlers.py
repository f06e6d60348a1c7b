"""What the handlers of events share: the state they change, and how they change the rest of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryofw.rollout.cohorts import Cohorts
    from cryofw.rollout.cryostat_guard import CryostatGuard
    from cryofw.rollout.progress import DeviceProgress


class Handlers(ABC):
    """Base of the handlers that `RolloutState` is put together from."""

    __slots__ = ()

    devices: dict[str, DeviceProgress]
    cohorts: Cohorts
    guards: dict[str, CryostatGuard]

    @abstractmethod
    def members(self, names: Iterable[str]) -> list[DeviceProgress]:
        """See `RolloutState.members`."""

    @abstractmethod
    def touch(self, *names: str) -> None:
        """See `RolloutState.touch`."""

    @abstractmethod
    def doom(self, names: Iterable[str], why: str) -> None:
        """See `RolloutState.doom`."""
