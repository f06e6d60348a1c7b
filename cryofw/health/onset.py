"""How a stake is spread over the moments at which a fault may begin.

A bet that starts with the first block loses its money while a late fault sleeps. So the unit is
spread in advance: part of it is bet from the first block on, the rest enters block by block. The
parts sum to at most one, so the sum of all bets is still a supermartingale under "nothing is
wrong" and Ville's bound holds (a mixture over the time of onset; with equal parts this is the
Shiryaev-Roberts procedure over a fixed horizon).

Beyond the planned horizon the parts shrink by epochs of doubling length and never end: a held
device may be watched for longer, and a confirmed one until the rollout ends.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Onset:
    """Shares of one unit over the blocks 1, 2, 3, ...

    Attributes:
        horizon: planned number of blocks.
        first: share that is bet from block 1 on.
        planned: share spread evenly over the other planned blocks; the rest comes after them.
    """

    horizon: int
    first: float = 0.6
    planned: float = 0.3

    def share(self, block: int) -> float:
        """The share that enters with block `block` (from 1)."""
        if block == 1:
            return self.first + (self.planned if self.horizon <= 1 else 0.0)
        if block <= self.horizon:
            return self.planned / (self.horizon - 1)
        late = 1.0 - self.first - self.planned
        length = max(1, self.horizon)
        epoch = ((block - 1) // length).bit_length()
        return float(late * 0.5**epoch / (length * 2 ** (epoch - 1)))
