"""Some streamlines out of many, drawn at random in one pass, perhaps brought to even points."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from dipy.tracking.streamline import set_number_of_points
from jaxtyping import Float, Int

from .streamlines import Streamlines

EvenLines = Float[np.ndarray, "_ node 3"]


@dataclass(frozen=True)
class Draw:
    """Streamlines drawn out of a file.

    Attributes
    ----------
    streamlines
        RAS world mm, in the order of the file.
    places
        Where in the file each was, counted from 0 and rising.
    n_usable
        Streamlines that could have been drawn.
    """

    streamlines: Streamlines
    places: Int[np.ndarray, " streamline"]
    n_usable: int

    def lines(self, n_node: int) -> EvenLines:
        """Give the points of streamlines that were all brought to `n_node` of them."""
        return self.streamlines.points.reshape(-1, n_node, 3)


def draw_streamlines(
    batches: Iterable[Streamlines],
    *,
    n_most: int,
    random_seed: int,
    n_node: int | None = None,
    min_length_mm: float = 0.0,
) -> Draw:
    """Draw streamlines at random, each with the same chance, reading them once.

    Every streamline gets a random number, and those of the lowest numbers stay; so what is drawn
    depends neither on the size of a batch nor on how many there are before they are counted.

    Parameters
    ----------
    batches
        In the order of the file.
    n_most
        All are taken when they are no more than this. Memory is that of twice as many.
    random_seed
        Seed of the choice.
    n_node
        Points that each streamline is brought to; it keeps its own if not given.
    min_length_mm
        Shorter ones, and those of length 0, are passed over.

    Returns
    -------
    draw
        Perhaps of no streamline.
    """
    generator = np.random.default_rng(random_seed)
    parts: list[_Part] = []
    n_read = n_usable = 0
    highest = np.inf
    for batch in batches:
        key, length = generator.random(len(batch)), batch.lengths_mm
        usable = (length > 0) & (length >= min_length_mm)
        chosen = usable & (key < highest)
        if chosen.any():
            some = batch.where(chosen)
            if n_node is not None:
                even = even_lines(some, n_node)
                some = Streamlines(even.reshape(-1, 3), np.full(len(even), n_node))
            parts.append(_Part(some, n_read + np.flatnonzero(chosen), key[chosen]))
        n_read, n_usable = n_read + len(batch), n_usable + int(usable.sum())
        if sum(len(part.keys) for part in parts) > 2 * n_most:
            parts = [_lowest(parts, n_most)]
            highest = parts[0].keys.max(initial=0.0)
    kept = _lowest(parts, n_most)
    return Draw(kept.streamlines, kept.places, n_usable)


def pick_streamlines(
    batches: Iterable[Streamlines], places: Int[np.ndarray, " streamline"]
) -> Streamlines:
    """Fetch the streamlines at some places of a file, reading it once.

    Parameters
    ----------
    batches
        In the order of the file.
    places
        Counted from 0 and rising.

    Returns
    -------
    streamlines
        In the order of ``places``.
    """
    parts, n_read = [], 0
    for batch in batches:
        first, end = np.searchsorted(places, [n_read, n_read + len(batch)])
        if first < end:
            here = np.zeros(len(batch), dtype=bool)
            here[places[first:end] - n_read] = True
            parts.append(batch.where(here))
        n_read += len(batch)
    return Streamlines.join(parts)


def even_lines(streamlines: Streamlines, n_node: int) -> EvenLines:
    """Put points at even distances along each streamline.

    Examples
    --------
    >>> import numpy as np
    >>> bent = Streamlines.of([np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 3.0, 0.0]])])
    >>> even_lines(bent, 3).tolist()
    [[[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 3.0, 0.0]]]
    """
    if not len(streamlines):
        return np.zeros((0, n_node, 3), dtype=np.float32)
    return np.stack(set_number_of_points(list(streamlines), nb_points=n_node)).astype(np.float32)


@dataclass(frozen=True)
class _Part:
    """Streamlines that may stay, where in the file they were, and the number that each drew."""

    streamlines: Streamlines
    places: Int[np.ndarray, " streamline"]
    keys: Float[np.ndarray, " streamline"]


def _lowest(parts: Sequence[_Part], n_most: int) -> _Part:
    keys = np.concatenate([np.zeros(0), *(part.keys for part in parts)])
    places = np.concatenate([np.zeros(0, dtype=np.int64), *(part.places for part in parts)])
    stays = np.zeros(len(keys), dtype=bool)
    stays[np.argsort(keys, kind="stable")[:n_most]] = True
    joined = Streamlines.join(part.streamlines for part in parts)
    return _Part(joined.where(stays), places[stays], keys[stays])
