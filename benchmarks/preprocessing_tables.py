"""Tables and a figure of how well series are corrected: means over seeds, a column a tool."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .record import print_table

OURS, IDEAL = "shd-bids", "artefact-free"
_PANELS = {"Head motion, mm": "motion b", "Head motion, degrees": "motion b", "Fibres": "fibres"}
_UNITS = {"Head motion, mm": "mm", "Head motion, degrees": "deg", "Fibres": "deg"}
_AT_MOST = {"gradients, deg": 0.3, "distortion left": 0.3, "bias left": 0.05}
_AT_LEAST = {"dropout recall": 0.9, "dropout precision": 0.9}
_LOW_B, _ERROR_AT_LOW_B, _ERROR_ABOVE = 1000.0, 0.3, 0.6
_WORSE_THAN_IDEAL = 1.1


def print_preprocessing(rows: Sequence[dict[str, Any]]) -> None:
    """Print scores, with the goal of each and whether we reach it, and costs, by protocol."""
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        some = [row for row in rows if row["protocol"] == protocol]
        seeds = ", ".join(str(seed) for seed in dict.fromkeys(row["seed"] for row in some))
        print_table(score_table(some), f"{protocol}, mean over seeds {seeds}")
        print_table(cost_table(some), f"Cost of each step, {protocol}, mean over seeds {seeds}")


def score_table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lay the scores of one protocol out: a line for each measure."""
    means = _average(rows)
    measures = dict.fromkeys(name for scores in means.values() for name in scores)
    lines = []
    for name in _ordered(list(measures)):
        values = {tool: scores.get(name) for tool, scores in means.items()}
        lines.append({"measure": name, **values, **_judge(name, values)})
    return lines


def cost_table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lay the costs of one protocol out: a line for each tool and step."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        for step, cost in row["costs"].items():
            pair = cost["seconds"], cost["peak_memory_mib"]
            found.setdefault((row["tool"], step), []).append(pair)
    lines = []
    for (tool, step), pairs in found.items():
        seconds, peak_mib = np.mean(pairs, axis=0).tolist()
        lines.append({"tool": tool, "step": step, "seconds": seconds, "peak_memory_mib": peak_mib})
    ours = [line for line in lines if line["tool"] == OURS]
    if ours:
        whole = {
            "seconds": sum(line["seconds"] for line in ours),
            "peak_memory_mib": max(line["peak_memory_mib"] for line in ours),
        }
        lines.append({"tool": OURS, "step": "all", **whole})
    return lines


def draw_preprocessing(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw errors of head motion and fibres as bars, a line of panels for each protocol."""
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    figure = Figure(figsize=(11.0, 1.0 + 2.6 * len(protocols)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(protocols), len(_PANELS), squeeze=False)
    for line, protocol in enumerate(protocols):
        means = _average([row for row in rows if row["protocol"] == protocol])
        for axis, (title, start) in zip(axes[line], _PANELS.items(), strict=True):
            bars = {
                f"{tool}, {name.partition(',')[0].removeprefix('motion ')}": value
                for tool, scores in means.items()
                for name, value in scores.items()
                if name.startswith(start) and name.endswith(_UNITS[title]) and value is not None
            }
            colours = [f"C{list(means).index(name.rpartition(',')[0])}" for name in bars]
            axis.barh(list(bars), list(bars.values()), color=colours)
            axis.invert_yaxis()
            axis.set_title(f"{title}: {protocol}", fontsize="medium")
            axis.tick_params(labelsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def _average(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Give each tool's scores, averaged over the seeds for which it has them."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scores = found.setdefault(row["tool"], {})
        for name, value in row["scores"].items():
            scores.setdefault(name, []).extend([] if value is None else [value])
    return {
        tool: {name: float(np.mean(values)) if values else None for name, values in scores.items()}
        for tool, scores in found.items()
    }


def _ordered(measures: list[str]) -> list[str]:
    """Put what is scored at the end of the chain last."""
    last = ("signal", "fibres", "false")
    return sorted(measures, key=lambda name: name.startswith(last))


def _judge(measure: str, values: dict[str, float | None]) -> dict[str, str]:
    """Say what is aimed at and whether we reach it; nothing where there is no goal."""
    ours, ideal = values.get(OURS), values.get(IDEAL)
    most, least = _AT_MOST.get(measure), _AT_LEAST.get(measure)
    if measure.startswith("motion b="):
        low = float(measure.removeprefix("motion b=").partition(",")[0]) <= _LOW_B
        most = _ERROR_AT_LOW_B if low else _ERROR_ABOVE
    elif measure == "fibres, deg" and ideal is not None:
        most = _WORSE_THAN_IDEAL * ideal
    if most is None and least is None:
        return {}
    goal = f"<= {most:.3g}" if most is not None else f">= {least:.3g}"
    if ours is None:
        return {"goal": goal, "reached": "no"}
    reached = ours <= most if most is not None else ours >= (least or 0.0)
    return {"goal": goal, "reached": "yes" if reached else "no"}
