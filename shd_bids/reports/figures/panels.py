"""Three panels beside each other, one for each view, on a dark page."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shd_bids.reports.figures.style import DARK
from shd_bids.reports.figures.views import VIEWS


def view_panels() -> tuple[Figure, list[Axes]]:
    """Lay out a panel for each of `VIEWS`, its sides named, with room for a legend at the foot."""
    figure = Figure(figsize=(14.0, 5.0), facecolor=DARK)
    panels = [figure.add_axes((order / 3, 0.08, 1 / 3, 0.85)) for order in range(len(VIEWS))]
    for axes, view in zip(panels, VIEWS, strict=True):
        axes.set_axis_off()
        for x, letter in ((0.03, view.sides[0]), (0.97, view.sides[1])):
            axes.text(
                x, 0.5, letter, color="white", fontsize=11, fontweight="bold", ha="center",
                va="center", transform=axes.transAxes,
            )  # fmt: skip
    return figure, panels
