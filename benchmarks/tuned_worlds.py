"""Simulated studies whose methods are equally good at their best learning rates: worlds that tuning has to get right.

Nothing here is shared with the search. A method's accuracy over the logarithm of the learning rate is a bell with two
widths of its own, cut off by a cliff above. Validation loss is such a bell, too, with its optimum elsewhere, and so is
the loss at the first rung, whose optimum lies lower. A seed shifts accuracy and loss together, the more the higher the
rate, and moves the cliff; a training that falls off it collapses, and further up it diverges. Rates of one seed share a
part of its luck. Answers are right or wrong, and hard examples are hard for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

METHODS = 8
PEAK = 0.5
"""Accuracy of every method at its best rate."""
COLLAPSED = 0.03
CORRELATION = 0.4
"""Latent, between answers of two trainings to one example."""
VALID, TEST, FINAL_SEEDS = 100, 400, 3

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """What is drawn for a method, in decades of the learning rate and shares of right answers."""

    name: str
    offset: tuple[float, float] = (0.33, 1.67)
    """Smallest and largest distance of the best rate from the card's centre, in either direction."""
    seed_sd: float = 0.02
    growth: float = 0.4
    """Decades of growth of the seeds' standard deviation per decade of the rate."""
    loss_shift: tuple[float, float] = (-0.05, 0.1)
    """Mean and standard deviation of the loss's optimum less the accuracy's."""
    rung_shift: tuple[float, float] = (-0.35, 0.15)
    """The same at the first rung."""
    cliff: tuple[float, float] = (0.3, 1.0)
    """Smallest and largest distance of the cliff above the best rate."""
    jitter: float = 0.06
    """Standard deviation of the cliff's place over seeds."""


WORLDS = (
    World(name="centred", offset=(0.0, 0.1)),
    World(name="off"),
    World(name="off, steep cliffs", cliff=(0.15, 0.4)),
    World(name="off, loss and score apart", loss_shift=(-0.05, 0.2), rung_shift=(-0.35, 0.3)),
    World(name="off, restless seeds", seed_sd=0.04, growth=0.6),
)


class Method:
    """One method of a study: what its trainings come to.

    Args:
        world: Where it is drawn from.
        generator: Of its shape.
        difficulty: Of the validation examples, shape (examples,).
        key: Names its own stream of trainings.
    """

    def __init__(self, world: World, generator: np.random.Generator, difficulty: Floats, key: int) -> None:
        self.world, self.difficulty, self.key = world, difficulty, key
        self.best = float(generator.uniform(*world.offset)) * float(generator.choice([-1.0, 1.0]))
        self.low, self.high = generator.uniform(0.5, 1.0), generator.uniform(0.4, 0.9)
        self.cliff = self.best + float(generator.uniform(*world.cliff))
        self.loss_best = self.best + float(generator.normal(*world.loss_shift))
        self.rung_best = self.best + float(generator.normal(*world.rung_shift))
        self.own = float(generator.uniform(0.5, 1.5))
        """How restless its seeds are, as a factor."""

    def accuracy(self, rate: float, seed: int) -> float:
        """Of one training, expected over examples; ``rate`` in decades from the card's centre."""
        if rate > self.cliff + self._cliff_move(seed):
            return COLLAPSED
        return float(np.clip(self._bell(rate, self.best) + self._luck(rate, seed), 0.005, 0.995))

    def loss(self, rate: float, seed: int) -> float:
        """Validation loss at the end; infinite where it diverged."""
        over = rate - self.cliff - self._cliff_move(seed)
        if over > 0.25:
            return math.inf
        own = self._dice(seed, rate, 2).normal(0.0, 0.5 * self.world.seed_sd)
        return 1.0 - self._bell(rate, self.loss_best) - 0.7 * self._luck(rate, seed) + own + (1.0 if over > 0 else 0.0)

    def rung_loss(self, rate: float, seed: int) -> float:
        """Validation loss at the first rung; what is going to diverge need not show it yet."""
        over = rate - self.cliff - self._cliff_move(seed)
        if over > 0.5:
            return math.inf
        own = self._dice(seed, rate, 3).normal(0.0, 0.5 * self.world.seed_sd)
        return 1.3 - self._bell(rate, self.rung_best) - 0.3 * self._luck(rate, seed) + own + max(0.0, over)

    def answers(self, rate: float, seed: int, difficulty: Floats) -> NDArray[np.bool_]:
        """Right or wrong on each example, shape (examples,)."""
        from scipy.special import ndtri

        own = self._dice(seed, rate, 4 + len(difficulty)).standard_normal(len(difficulty))
        latent = math.sqrt(CORRELATION) * difficulty + math.sqrt(1 - CORRELATION) * own
        return np.asarray(latent < ndtri(self.accuracy(rate, seed)))

    def expected(self, rates: Floats) -> Floats:
        """Accuracy over fresh seeds, luck averaged out; same shape as the rates (decades)."""
        bell = np.array([self._bell(rate, self.best) for rate in rates])
        from scipy.special import ndtr

        falls = ndtr((rates - self.cliff) / self.world.jitter)
        return np.asarray((1 - falls) * bell + falls * COLLAPSED)

    def _bell(self, rate: float, centre: float) -> float:
        width = self.low if rate < centre else self.high
        return PEAK * math.exp(-0.5 * ((rate - centre) / width) ** 2)

    def _luck(self, rate: float, seed: int) -> float:
        spread = self.world.seed_sd * self.own * 10 ** (self.world.growth * (rate - self.best))
        shared, own = self._dice(seed, 0.0, 0).normal(), self._dice(seed, rate, 1).normal()
        return float(spread * (math.sqrt(0.5) * shared + math.sqrt(0.5) * own))

    def _cliff_move(self, seed: int) -> float:
        return float(self.world.jitter * self._dice(seed, 0.0, 5).normal())

    def _dice(self, seed: int, rate: float, what: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(key=[self.key, seed], counter=[what, int(rate * 1e4) % 2**32, 0, 0])
        )
