"""Accuracy as tables, as a list of what was lost, and as a figure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .record import print_table

CHAMPION = "shd-tv"
METRICS = {
    "angular_error_deg": "Mean angular error, degrees",
    "false_positives": "False positives per fibre",
    "false_negatives": "False negatives per fibre",
    "success": "Success rate (every fibre found, no spurious peak)",
}
_DIGITS = {"angular_error_deg": 2}
_JUDGED = ("angular_error_deg", "false_positives")
_SUMMARISED = ("false_negatives", "success")
_COUNTS = ("all", "1 fibre", "2 fibres", "3+ fibres")
_CROSSING = "crossing "
_MARKS = "; mean ± sd over seeds, * is best"


@dataclass(frozen=True)
class Contest:
    """One group of voxels of one kind of scan, and what each model reached there."""

    threshold: str
    protocol: str
    snr: float
    group: str
    metric: str
    values: dict[str, list[float]]  # of each model, a value for each seed

    @property
    def means(self) -> dict[str, float]:
        """Mean over seeds of each model."""
        return {model: float(np.mean(values)) for model, values in self.values.items()}

    @property
    def winners(self) -> list[str]:
        """The best model, or those that are equally good."""
        means = self.means
        best = max(means.values()) if self.metric == "success" else min(means.values())
        return [model for model, mean in means.items() if np.isclose(mean, best, atol=1e-9)]


def hold_contests(rows: Sequence[dict[str, Any]], metric: str) -> Iterator[Contest]:
    """Sort what was measured by threshold, protocol, SNR and group of voxels."""
    scored = [row for row in rows if "scores" in row]
    kinds = dict.fromkeys((row["protocol"], row["snr"]) for row in scored)
    for threshold in dict.fromkeys(key for row in scored for key in row["scores"]):
        for protocol, snr in kinds:
            alike = [row for row in scored if (row["protocol"], row["snr"]) == (protocol, snr)]
            for group in ("all", *alike[0]["scores"][threshold]["groups"]):
                values: dict[str, list[float]] = {}
                for row in alike:
                    value = _select(row["scores"][threshold], group)[metric]
                    if value is not None:
                        values.setdefault(row["model"], []).append(value)
                if values:
                    yield Contest(threshold, protocol, snr, group, metric, values)


def print_accuracy(rows: Sequence[dict[str, Any]]) -> None:
    """Print a table for each metric and peak threshold, wall times, and the contests lost."""
    lost: list[Contest] = []
    for metric in _JUDGED:
        contests = list(hold_contests(rows, metric))
        for threshold in dict.fromkeys(contest.threshold for contest in contests):
            table = [_contest_row(c) for c in contests if c.threshold == threshold]
            print_table(table, f"{METRICS[metric]}; peaks from {threshold} of the largest{_MARKS}")
        lost += [c for c in contests if CHAMPION in c.values and CHAMPION not in c.winners]
    for metric in _SUMMARISED:
        table = [
            {"peaks": contest.threshold, **_contest_row(contest)}
            for contest in hold_contests(rows, metric)
            if contest.group in _COUNTS
        ]
        print_table(table, f"{METRICS[metric]}{_MARKS}")
    print_table(_summarise_models(rows), "Tissue fractions and time, means over seeds")
    for row in rows:
        if "error" in row:
            name = f"{row['model']} on {row['protocol']} at SNR {row['snr']:g}, seed {row['seed']}"
            print(f"Failed: {name}: {row['error']}")
    if any(row["model"] == CHAMPION for row in rows):
        print_table([_lost_row(contest) for contest in lost], f"Where {CHAMPION} is not first")
        if not lost:
            print(f"(nowhere: {CHAMPION} is first in every cell)")


def _select(score: dict[str, Any], group: str) -> dict[str, Any]:
    return score["overall"] if group == "all" else score["groups"][group]


def _contest_row(contest: Contest) -> dict[str, object]:
    digits = _DIGITS.get(contest.metric, 3)
    row: dict[str, object] = {
        "protocol": contest.protocol,
        "snr": f"{contest.snr:g}",
        "voxels": contest.group,
    }
    for model, values in contest.values.items():
        spread = f"±{np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
        mark = "*" if model in contest.winners else " "
        row[model] = f"{np.mean(values):.{digits}f}{spread}{mark}"
    return row


def _lost_row(contest: Contest) -> dict[str, object]:
    means = contest.means
    return {
        "metric": contest.metric,
        "peaks": contest.threshold,
        "protocol": contest.protocol,
        "snr": f"{contest.snr:g}",
        "voxels": contest.group,
        CHAMPION: means[CHAMPION],
        "best": contest.winners[0],
        "its": means[contest.winners[0]],
    }


def _summarise_models(rows: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """Average wall time and the error of tissue fractions."""
    table = []
    scored = [row for row in rows if "scores" in row]
    for key in dict.fromkeys((row["protocol"], row["snr"], row["model"]) for row in scored):
        alike = [r for r in scored if (r["protocol"], r["snr"], r["model"]) == key]
        errors = [next(iter(row["scores"].values()))["tissue_error"] for row in alike]
        table.append(
            {
                "protocol": key[0],
                "snr": f"{key[1]:g}",
                "model": key[2],
                "seconds": float(np.mean([row["seconds"] for row in alike])),
                **{
                    f"{tissue} error": float(np.mean([error[tissue] for error in errors]))
                    for tissue in errors[0]
                },
            }
        )
    return table


def draw_accuracy(rows: Sequence[dict[str, Any]], file: Path, *, threshold: str = "0.1") -> None:
    """Draw error and false positives against crossing angle, a column for each kind of scan.

    Parameters
    ----------
    rows
        Of the benchmark.
    file
        Its suffix says the format.
    threshold
        Of the peaks, relative to the largest.
    """
    contests = [
        contest
        for metric in _JUDGED
        for contest in hold_contests(rows, metric)
        if contest.threshold == threshold and contest.group.startswith(_CROSSING)
    ]
    kinds = list(dict.fromkeys((contest.protocol, contest.snr) for contest in contests))
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(2.6 * max(len(kinds), 2), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, max(len(kinds), 1), sharex=True, sharey="row", squeeze=False)
    for line, metric in enumerate(_JUDGED):
        axes[line, 0].set_ylabel(METRICS[metric])
        for column, (protocol, snr) in enumerate(kinds):
            axis = axes[line, column]
            chosen = [
                c for c in contests if (c.metric, c.protocol, c.snr) == (metric, protocol, snr)
            ]
            for number, model in enumerate(models):
                points = [(_middle(c.group), c.means[model]) for c in chosen if model in c.values]
                if points:
                    width = 2.4 if model == CHAMPION else 1.2
                    style = "o-" if model == CHAMPION else ".--"
                    axis.plot(
                        *np.transpose(points),
                        style,
                        color=f"C{number}",
                        linewidth=width,
                        label=model,
                    )
            if line == 0:
                axis.set_title(f"{protocol}, SNR {snr:g}", fontsize="medium")
            else:
                axis.set_xlabel("Crossing angle, degrees")
        axes[line, 0].set_ylim(bottom=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def _middle(group: str) -> float:
    low, _, high = group.removeprefix(_CROSSING).removesuffix(" deg").partition("-")
    return (float(low) + float(high)) / 2
