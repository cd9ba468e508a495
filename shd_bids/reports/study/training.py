"""The course of the training of the study's network."""

from collections.abc import Sequence

from .chart import draw_chart
from .svg import nice_ticks


def training_figure(
    steps: Sequence[float | int], course: Sequence[float | int], name: str = ""
) -> str:
    """Draw the loss by step; empty if there are fewer than two.

    Parameters
    ----------
    steps
        Number of the step.
    course
        Loss there.
    name
        Of the scans.

    Returns
    -------
    str
        A ``<figure>``.
    """
    curve = [(float(step), float(loss)) for step, loss in zip(steps, course, strict=True)]
    if len(curve) < 2:
        return ""
    low, high = min(y for _, y in curve), max(y for _, y in curve)
    margin = 0.05 * ((high - low) or abs(high) or 1.0)
    right = max(x for x, _ in curve)
    return draw_chart(
        f"Loss of the training, {name}" if name else "Loss of the training",
        "step",
        (0.0, right, nice_ticks(0.0, right, 5)),
        (low - margin, high + margin, nice_ticks(low - margin, high + margin, 4)),
        [([curve], "plain")],
        f"Loss from {curve[0][1]:.4g} to {curve[-1][1]:.4g} over {right:.0f} steps",
    )
