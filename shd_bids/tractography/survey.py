"""What a report tells of many streamlines, gathered in one pass."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .streamlines import Streamlines


@dataclass(frozen=True)
class Survey:
    """The lengths of all streamlines, and some of them.

    Attributes
    ----------
    lengths_mm
        Of each streamline, 32 bits: 40 MB for 10 million.
    shown
        Drawn at random, all equally likely, in the order of the tractogram.
    """

    lengths_mm: Float[np.ndarray, " streamline"]
    shown: Streamlines


def survey(batches: Iterable[Streamlines], *, n_shown: int, random_seed: int) -> Survey:
    """Measure all streamlines and keep a few.

    Every streamline draws a number; those with the lowest are kept. The choice depends on the seed
    and the order alone, not on how the streamlines are cut into batches.

    Parameters
    ----------
    batches
        In mm; read once.
    n_shown
        Keep so many, or all if there are fewer.
    random_seed
        Of the choice.

    Returns
    -------
    Survey
        Empty if there is no streamline.
    """
    generator = np.random.default_rng(random_seed)
    lengths: list[np.ndarray] = []
    shown, lots = Streamlines.of([]), np.zeros(0)
    for batch in batches:
        lengths.append(batch.lengths_mm.astype(np.float32))
        drawn = generator.random(len(batch))
        every = np.concatenate([lots, drawn])
        kept = np.zeros(len(every), dtype=bool)
        kept[np.argsort(every)[:n_shown]] = True
        before, now = shown.where(kept[: len(lots)]), batch.where(kept[len(lots) :])
        shown = Streamlines(
            np.concatenate([before.points, now.points]),
            np.concatenate([before.n_points, now.n_points]),
        )
        lots = every[kept]
    return Survey(np.concatenate([np.zeros(0, dtype=np.float32), *lengths]), shown)
