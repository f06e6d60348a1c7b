"""Has a series moved? Blocks, ranks and bets put together, for any number of questions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryofw.health.blocks import block_means, choose_length
from cryofw.health.onset import Onset
from cryofw.health.ranks import RankBook
from cryofw.health.tiebreak import TieBreaker
from cryofw.health.wager import Wager

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_MOST = 1e150


def usable(value: float) -> bool:
    """A number that can be judged: finite, and so small that sums of squares are finite too."""
    return -_MOST < value < _MOST


class ShiftTest:
    """Always-valid tests of one series against its own baseline.

    Each question is a pair (margin, sign): with sign +1 the bet is on "higher than the baseline
    by more than the margin", with -1 on "lower than the baseline plus the margin". They share
    the ranks but not the money.

    Args:
        baseline: values from before, in time order.
        questions: the pairs.
        planned: number of values that are expected.
        seed: breaks ties; names the stream.
        length: block length, when it is not to be taken from the baseline.

    Attributes:
        length: values in a block; 0 when this baseline can judge nothing.
        base_blocks: means of the baseline's blocks.
        wagers: one bet for each question.
        last: mean of the latest block.
    """

    __slots__ = (
        "_book", "_filled", "_margins", "_signs", "_sum", "_ties", "base_blocks", "last",
        "length", "wagers",
    )  # fmt: skip

    def __init__(
        self,
        baseline: Sequence[float],
        questions: Sequence[tuple[float, int]],
        planned: int,
        seed: bytes,
        length: int | None = None,
    ) -> None:
        self.length = choose_length(baseline) if length is None else length
        self.base_blocks = block_means(baseline, self.length) if self.length else []
        self._book = RankBook(self.base_blocks)
        self._margins = tuple(margin for margin, _ in questions)
        self._signs = tuple(sign for _, sign in questions)
        horizon = max(1, planned // (self.length or 1))
        self.wagers = tuple(Wager(Onset(horizon)) for _ in questions)
        self._ties = TieBreaker(seed)
        self._sum = 0.0
        self._filled = 0
        self.last = 0.0

    @property
    def blocks(self) -> list[float]:
        """Means of the blocks since the baseline, sorted."""
        return self._book.state()

    def observe(self, value: float) -> bool:
        """Take the next value; whether it completed a block, and so moved the bets."""
        if not self.length:
            return False
        self._sum += value
        self._filled += 1
        if self._filled < self.length:
            return False
        self.last = mean = self._sum / self._filled
        self._sum, self._filled = 0.0, 0
        book = self._book
        shares = book.place(mean, self._margins, self._ties.uniform(book.count))
        for wager, sign, share in zip(self.wagers, self._signs, shares, strict=True):
            wager.pay(share if sign > 0 else 1.0 - share)
        return True

    def state(self) -> dict[str, Any]:
        """Plain JSON from which `restore` goes on exactly, given the same baseline."""
        return {
            "blocks": list(self._book.state()),
            "open": [self._sum, self._filled, self.last],
            "wagers": [wager.state() for wager in self.wagers],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self._book.restore(state["blocks"])
        self._sum, self._filled, self.last = state["open"]
        for wager, saved in zip(self.wagers, state["wagers"], strict=True):
            wager.restore(**saved)
