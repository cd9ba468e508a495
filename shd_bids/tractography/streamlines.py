"""Many streamlines as two arrays, to be dealt with at the speed of numpy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Streamlines:
    """Some streamlines, end to end.

    Attributes
    ----------
    points
        RAS world mm, one streamline after the other, float32.
    n_points
        Number of points of each streamline, at least 1.
    """

    points: Float[np.ndarray, "point 3"]
    n_points: Int[np.ndarray, " streamline"]

    @classmethod
    def of(cls, lines: Iterable[Float[np.ndarray, "_ 3"]]) -> "Streamlines":
        """Join single streamlines; those without points are left out.

        Examples
        --------
        >>> import numpy as np
        >>> two = Streamlines.of([np.zeros((2, 3)), np.ones((3, 3))])
        >>> len(two), two.points.shape, two.first
        (2, (5, 3), array([0, 2]))
        """
        kept = [line for line in lines if len(line)]
        points = np.concatenate(kept) if kept else np.zeros((0, 3))
        return cls(points.astype(np.float32), np.array([len(line) for line in kept], dtype=int))

    @classmethod
    def join(cls, parts: Iterable["Streamlines"]) -> "Streamlines":
        """Put the streamlines of some batches behind each other."""
        nothing = cls(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=int))
        points, n_points = zip(*((p.points, p.n_points) for p in (nothing, *parts)), strict=True)
        return cls(np.concatenate(points), np.concatenate(n_points))

    def __len__(self) -> int:
        return len(self.n_points)

    def __iter__(self) -> Iterator[Float[np.ndarray, "_ 3"]]:
        for first, n_point in zip(self.first, self.n_points, strict=True):
            yield self.points[first : first + n_point]

    @property
    def first(self) -> Int[np.ndarray, " streamline"]:
        """Where in `points` each streamline begins."""
        return np.cumsum(self.n_points) - self.n_points

    @property
    def last(self) -> Int[np.ndarray, " streamline"]:
        """Where in `points` each streamline ends."""
        return np.cumsum(self.n_points) - 1

    @property
    def owner(self) -> Int[np.ndarray, " point"]:
        """The streamline that each point belongs to."""
        return np.repeat(np.arange(len(self)), self.n_points)

    @property
    def ends(self) -> Float[np.ndarray, "streamline 2 3"]:
        """First and last point of each streamline, RAS world mm."""
        return self.points[np.stack([self.first, self.last], axis=1)]

    @property
    def steps_mm(self) -> Float[np.ndarray, " point"]:
        """Distance of each point to the next of its streamline, 0 at the last."""
        steps = np.linalg.norm(np.diff(self.points, axis=0, append=self.points[-1:]), axis=1)
        steps[self.last] = 0.0  # from one streamline to the next is no step
        return steps

    @property
    def lengths_mm(self) -> Float[np.ndarray, " streamline"]:
        """Length of each streamline along its points."""
        return np.bincount(self.owner, self.steps_mm, len(self)).astype(
            float
        )  # of none they are integers

    def where(self, keep: Bool[np.ndarray, " streamline"]) -> "Streamlines":
        """Return the streamlines that are marked."""
        return Streamlines(self.points[np.repeat(keep, self.n_points)], self.n_points[keep])
