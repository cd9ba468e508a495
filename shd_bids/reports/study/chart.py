"""Curves over two axes, as SVG text."""

from collections.abc import Callable, Sequence

from .svg import drawing, lines, number, text

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 22, 38

Curve = list[tuple[float, float]]


def draw_chart(
    title: str,
    x_label: str,
    x_axis: tuple[float, float, Sequence[float]],
    y_axis: tuple[float, float, Sequence[float]],
    drawn: Sequence[tuple[Sequence[Curve], str]],
    said: str,
    *,
    say_y: Callable[[float], str] = number,
    more: Sequence[str] = (),
) -> str:
    """Draw curves over two axes.

    Parameters
    ----------
    title, x_label
        What it shows.
    x_axis, y_axis
        Lower end, upper end and ticks.
    drawn
        Curves, and the class that gives them their colour.
    said
        What it shows, for who cannot see it.
    say_y
        Writes a tick of the upright axis.
    more
        SVG to put on top.

    Returns
    -------
    str
        A ``<figure>``.
    """
    (x_low, x_high, x_ticks), (y_low, y_high, y_ticks) = x_axis, y_axis
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + width * (x - x_low) / ((x_high - x_low) or 1.0),
            TOP + height * (1 - (y - y_low) / ((y_high - y_low) or 1.0)),
        )

    parts = [text(LEFT, 14, title, "heading")]
    for tick in x_ticks:
        x, y = at(tick, y_low)
        parts += [f'<path class="grid" d="M{x:.1f} {TOP}V{y:.1f}"/>']
        parts += [text(x, y + 13, number(tick), "tick", "middle")]
    for tick in y_ticks:
        x, y = at(x_low, tick)
        parts += [f'<path class="grid" d="M{x:.1f} {y:.1f}h{width}"/>']
        parts += [text(x - 5, y + 4, say_y(tick), "tick", "end")]
    for curves, kind in drawn:
        crowd = " crowd" if len(curves) > 30 else ""
        parts.append(lines([[at(x, y) for x, y in curve] for curve in curves], kind + crowd))
    parts.append(text(LEFT + width / 2, HEIGHT - 8, x_label, "tick", "middle"))
    return f"<figure>{drawing(WIDTH, HEIGHT, said, [*parts, *more])}</figure>"
