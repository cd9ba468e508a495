"""Connections, overlap and cost as tables and as a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .record import print_table

# heading and key, whether more is better (None: no contest), digits
_SCORES = {
    "VC %": ("valid", True, 1),
    "IC %": ("invalid", False, 1),
    "NC %": ("none", False, 1),
    "VB": ("valid_bundles", True, 1),
    "IB": ("invalid_bundles", False, 1),
    "OL %": ("overlap", True, 1),
    "OR %": ("overreach", False, 1),
    "F1 %": ("f1", True, 1),
    "fit CPU s": ("fit_cpu_seconds", None, 0),
    "streamlines/CPU s": ("streamlines_per_cpu_second", True, 0),
    "peak MiB": ("peak_memory_mib", None, 0),
}
_DRAWN = ("VC %", "IC %", "OL %", "OR %", "F1 %")
_CHAMPION = ("shd-tv", "probabilistic")
_KIND = ("phantom", "protocol", "snr")


def print_tractography(rows: Sequence[dict[str, Any]]) -> None:
    """Print one table for each kind of scan, means over seeds, the best of each column marked."""
    for kind, by_candidate in group_rows(rows).items():
        means = {c: {h: _mean(alike, h) for h in _SCORES} for c, alike in by_candidate.items()}
        table = [
            {"model": model, "tracker": tracker}
            | {head: _cell(head, of[head], [m[head] for m in means.values()]) for head in _SCORES}
            for (model, tracker), of in means.items()
        ]
        first = next(iter(by_candidate.values()))
        n_seed, n_bundle = len(first), first[0]["n_bundle"]
        phantom, protocol, snr = kind
        print_table(
            table,
            f"{phantom} ({n_bundle} bundles), {protocol}, SNR {snr:g}, "
            f"{first[0]['n_streamline']} streamlines; mean over {n_seed} seed(s), * is best",
        )
    for row in rows:
        if "error" in row:
            name = f"{row['model']}:{row['tracker']} on {row['phantom']}, {row['protocol']}"
            print(f"Failed: {name}, seed {row['seed']}: {row['error']}")


def group_rows(
    rows: Sequence[dict[str, Any]],
) -> dict[tuple[Any, ...], dict[tuple[str, str], list[dict[str, Any]]]]:
    """Sort what was scored by kind of scan, then by model and tracker."""
    groups: dict[tuple[Any, ...], dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for row in rows:
        if "error" not in row:
            kind = groups.setdefault(tuple(row[key] for key in _KIND), {})
            kind.setdefault((row["model"], row["tracker"]), []).append(row)
    return groups


def _mean(alike: Sequence[dict[str, Any]], head: str) -> float:
    return float(np.mean([row[_SCORES[head][0]] for row in alike]))


def _cell(head: str, value: float, rivals: Sequence[float]) -> str:
    _, more_is_better, digits = _SCORES[head]
    best = max(rivals) if more_is_better else min(rivals)
    mark = "*" if more_is_better is not None and np.isclose(value, best, atol=1e-9) else " "
    return f"{value:.{digits}f}{mark}"


def draw_tractography(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the scores as bars, a row for each kind of scan and a column for each score.

    Parameters
    ----------
    rows
        Of the benchmark.
    file
        Its suffix says the format.
    """
    groups = group_rows(rows)
    candidates = list(dict.fromkeys(c for by_candidate in groups.values() for c in by_candidate))
    n_row = max(len(groups), 1)
    height = 0.9 + n_row * (0.6 + 0.28 * len(candidates))
    figure = Figure(figsize=(2.3 * len(_DRAWN) + 2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_row, len(_DRAWN), sharex="col", sharey=True, squeeze=False)
    for line, (kind, by_candidate) in zip(axes, groups.items(), strict=False):
        phantom, protocol, snr = kind
        line[0].set_title(f"{phantom}, {protocol}, SNR {snr:g}", loc="left", fontsize="medium")
        for axis, head in zip(line, _DRAWN, strict=True):
            for place, candidate in enumerate(candidates):
                if candidate in by_candidate:
                    color = "C3" if candidate == _CHAMPION else "0.6"
                    value = _mean(by_candidate[candidate], head)
                    axis.barh(place, value, color=color)
                    axis.text(value, place, f" {value:.1f}", va="center", fontsize="small")
            axis.set_xlabel(f"{head.removesuffix(' %')}, %")
            axis.margins(x=0.2)
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_yticks(range(len(candidates)), [": ".join(c) for c in candidates])
    axes[0, 0].invert_yaxis()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
