"""What a report tells of many streamlines, gathered in one pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .draw import draw_streamlines
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

    Parameters
    ----------
    batches
        In mm; read once.
    n_shown
        Keep so many, or all if there are fewer, of those that have a length.
    random_seed
        Of the choice.

    Returns
    -------
    Survey
        Empty if there is no streamline.
    """
    lengths = [np.zeros(0, dtype=np.float32)]

    def measured() -> Iterator[Streamlines]:
        for batch in batches:
            lengths.append(batch.lengths_mm.astype(np.float32))
            yield batch

    drawn = draw_streamlines(measured(), n_most=n_shown, random_seed=random_seed)
    return Survey(np.concatenate(lengths), drawn.streamlines)
