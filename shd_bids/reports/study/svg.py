"""Small drawings of a study as SVG text: a thousand dots are one path."""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np
from jaxtyping import Float

#: Width of a character of the labels, in pixels.
_CHAR = 6.2


def dots(xs: Iterable[float], ys: Iterable[float], kind: str) -> str:
    """Draw dots as one path of empty strokes with round ends."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in zip(xs, ys, strict=True))
    return f'<path class="dots {kind}" d="{path}"/>' if path else ""


def lines(curves: Sequence[Sequence[tuple[float, float]]], kind: str) -> str:
    """Draw curves of one kind as one path."""
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in curve) for curve in curves if len(curve)]
    return f'<path class="line {kind}" d="{"".join(paths)}"/>' if paths else ""


def text(x: float | int, y: float | int, said: str, kind: str = "", anchor: str = "start") -> str:
    """Write a label; the text is escaped."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(said)}</text>'
    )


def drawing(width: int, height: int, said: str, parts: Sequence[str]) -> str:
    """Put parts together; ``said`` is what it shows, for who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
        f"{''.join(part for part in parts if part)}</svg>"
    )


def nice_ticks(low: float | int, high: float | int, n_most: int = 6) -> list[float]:
    """Give round numbers between two limits.

    Examples
    --------
    >>> nice_ticks(0.03, 1.07)
    [0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / n_most))
    while (high - low) / step > n_most:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first
    return [float(f"{(first + i) * step:.12g}") for i in range(count + 1)]


def axis(
    place: Callable[[float], float], low: float, high: float, bottom: float | int
) -> list[str]:
    """Draw a horizontal axis with its numbers below and faint lines above."""
    parts = []
    for tick in nice_ticks(low, high):
        x = place(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} 0V{bottom:.1f}"/>')
        parts.append(text(x, bottom + 12, number(tick), "tick", "middle"))
    return parts


def swarm(xs: Float[np.ndarray, " dot"], middle: float | int, height: float | int) -> list[float]:
    """Stack dots that lie at one place up and down from the middle, so that none hides another.

    Parameters
    ----------
    xs
        In pixels.
    middle
        Of the strip.
    height
        Of the strip: where there are more dots than it holds, they move closer.

    Returns
    -------
    list[float]
        Where each lies, in pixels.
    """
    bins = np.round(xs / 4.0).astype(int)
    _, place, counts = np.unique(bins, return_inverse=True, return_counts=True)
    tallest = int(counts.max()) if len(counts) else 1
    step = min(4.2, height / max(tallest, 1))
    seen = np.zeros(len(counts), dtype=int)
    ys = []
    for index in place:
        level = seen[index]
        seen[index] += 1
        offset = (level + 1) // 2 * (1 if level % 2 else -1)
        ys.append(middle + step * offset)
    return ys


def spread_labels(
    wanted: Sequence[tuple[float | int, str]], left: float | int, right: float | int, n_row: int
) -> list[tuple[float, int, str, str]]:
    """Find a place for labels of points, none over another; those without are left out.

    Parameters
    ----------
    wanted
        x of the point in pixels and label, the most important first.
    left, right
        Limits, in pixels.
    n_row
        Rows to put them in.

    Returns
    -------
    list
        x, row, anchor and label.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(n_row)]
    placed = []
    for x, label in wanted:
        length = _CHAR * len(label)
        anchor = "end" if x + length > right else "start"
        start, end = (x - length, x) if anchor == "end" else (x, x + length)
        if start < left:
            continue
        for row, others in enumerate(taken):
            if all(end + 4 < a or b + 4 < start for a, b in others):
                others.append((start, end))
                placed.append((x, row, anchor, label))
                break
    return placed


def number(value: float | int) -> str:
    """Say a number shortly.

    Examples
    --------
    >>> number(0.123456), number(123456.7), number(2.0), number(1e-7)
    ('0.1235', '123457', '2', '1e-07')
    """
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
