"""The figure of ``speed``: time and memory over the resolution of the sphere, one line per form."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .speed_cases import LABELS

_MEASURES = {"seconds": "Time (s)", "peak_mib": "Peak memory (MiB)"}
_STEPS = {"forward": "forward", "training": "training step"}
_STYLES = {"float32": "-", "bfloat16": "--"}


def draw_speed(rows: Sequence[Mapping[str, object]], figure_file: Path) -> None:
    """Draw one column per part and step, times above and memory below, as in figure 4.

    Parameters
    ----------
    rows
        Of ``measure_group``. Solid lines are float32, dashed ones bfloat16.
    figure_file
        The suffix decides the format.
    """
    panels = list(dict.fromkeys((str(row["part"]), str(row["step"])) for row in rows))
    measures = [key for key in _MEASURES if any(row[key] is not None for row in rows)]
    forms = [form for form in LABELS if any(row["form"] == form for row in rows)]
    colors = mpl.colormaps["viridis"].resampled(max(len(forms), 2))
    figure = Figure(figsize=(3.2 * len(panels), 2.9 * len(measures) + 0.6), layout="constrained")
    axes = figure.subplots(len(measures), len(panels), squeeze=False, sharex=True, sharey="row")
    for line, measure in enumerate(measures):
        for column, (part, step) in enumerate(panels):
            panel = axes[line, column]
            for index, form in enumerate(forms):
                for precision, style in _STYLES.items():
                    wanted = (part, step, form, precision)
                    points = [
                        (row["n_side"], row[measure])
                        for row in rows
                        if (row["part"], row["step"], row["form"], row["precision"]) == wanted
                        and row[measure] is not None
                    ]
                    if points:
                        label = LABELS[form] if precision == "float32" else None
                        panel.plot(
                            *zip(*points, strict=True),
                            style,
                            color=colors(index),
                            marker="o",
                            markersize=3,
                            label=label,
                        )
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.grid(visible=True, alpha=0.3)
            if line == 0:
                panel.set_title(f"{part}, {_STEPS[step]}")
            if line == len(measures) - 1:
                panel.set_xlabel("n_side")
        axes[line, 0].set_ylabel(_MEASURES[measure])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(forms), fontsize="small")
    figure_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(figure_file, dpi=150)
