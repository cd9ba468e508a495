"""Some streamlines out of many, drawn at random in one pass and brought to few even points."""

from collections.abc import Iterable
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
    lines
        Points at even distances along each streamline, RAS mm, float32.
    places
        Where in the file each was, counted from 0 and rising.
    n_usable
        Streamlines that could have been drawn.
    """

    lines: EvenLines
    places: Int[np.ndarray, " streamline"]
    n_usable: int


def draw_streamlines(
    batches: Iterable[Streamlines],
    *,
    n_most: int,
    random_seed: int,
    n_node: int = 20,
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
        Points that each streamline is brought to.
    min_length_mm
        Shorter ones, and those of length 0, are passed over.

    Returns
    -------
    draw
        Perhaps of no streamline.
    """
    generator = np.random.default_rng(random_seed)
    lines = [np.zeros((0, n_node, 3), dtype=np.float32)]
    places, keys = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    n_read = n_usable = n_held = 0
    highest = np.inf
    for batch in batches:
        key, length = generator.random(len(batch)), batch.lengths_mm
        usable = (length > 0) & (length >= min_length_mm)
        chosen = usable & (key < highest)
        if chosen.any():
            lines.append(even_lines(batch.where(chosen), n_node))
            places.append(n_read + np.flatnonzero(chosen))
            keys.append(key[chosen])
        n_read, n_usable = n_read + len(batch), n_usable + int(usable.sum())
        n_held += int(chosen.sum())
        if n_held > 2 * n_most:
            lines, places, keys = _lowest(lines, places, keys, n_most)
            n_held, highest = n_most, keys[0].max()
    lines, places, _ = _lowest(lines, places, keys, n_most)
    return Draw(lines[0], places[0], n_usable)


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
    points, n_points, n_read = [np.zeros((0, 3), dtype=np.float32)], [np.zeros(0, dtype=int)], 0
    for batch in batches:
        first, end = np.searchsorted(places, [n_read, n_read + len(batch)])
        if first < end:
            here = np.zeros(len(batch), dtype=bool)
            here[places[first:end] - n_read] = True
            some = batch.where(here)
            points.append(some.points)
            n_points.append(some.n_points)
        n_read += len(batch)
    return Streamlines(np.concatenate(points), np.concatenate(n_points))


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


def _lowest(
    lines: list[np.ndarray], places: list[np.ndarray], keys: list[np.ndarray], n_most: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    key = np.concatenate(keys)
    keep = np.sort(np.argsort(key, kind="stable")[:n_most])
    return [np.concatenate(lines)[keep]], [np.concatenate(places)[keep]], [key[keep]]
