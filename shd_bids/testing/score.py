"""Scoring fODFs against the phantom's truth.

``python -m shd_bids.testing.score BIDS_DIR OUTPUT_DIR`` prints a table of its models.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from shd_bids.bids.files import write_json
from shd_bids.errors import BidsDataError, ImageError
from shd_bids.tractography.peaks import find_peaks

from .geometry import TISSUES
from .matching import Match, match_peaks, merge_close_fibres
from .truth import Truth, read_array, read_truth

_CROSSINGS_DEG = ((25, 45), (45, 60), (60, 75), (75, 90))
_CLOSEST_DEG = 25.0  # fibres closer than this are one: peaks are no closer either
_MOSTLY_WHITE = 0.9  # share of white matter from which partial volume does not matter
_BEND_DEG = 6.0  # from voxel to voxel: a radius of 20 mm at 2 mm


@dataclass(frozen=True)
class GroupScore:
    """How well the fibres of a group of voxels were found."""

    n_voxel: int
    n_fibre: int
    angular_error_deg: float  # mean over the fibres that were found; NaN if none was
    false_positives: float  # spurious peaks per true fibre
    false_negatives: float  # missed fibres per true fibre
    success: float  # share of voxels with every fibre found and no spurious peak


@dataclass(frozen=True)
class FodfScore:
    """How well an fODF image agrees with the truth."""

    overall: GroupScore
    groups: dict[str, GroupScore]  # by fibres, angle where two cross, bends, partial volume
    tissue_error: dict[str, float] = field(default_factory=dict)  # mean absolute, of fractions


def score_fodf(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    truth: Truth,
    *,
    mask: Bool[np.ndarray, "x y z"] | None = None,
    fractions: Mapping[str, Float[np.ndarray, "x y z"]] | None = None,
    least_white: float = 0.5,
    least_share: float = 0.2,
    tolerance_deg: float = 25.0,
    relative_threshold: float = 0.1,
    absolute_threshold: float = 0.1,
) -> FodfScore:
    """Score the peaks of an fODF, and tissue fractions if they are given.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis and scale, RAS axes.
    truth
        Of the same grid.
    mask
        Voxels to score; by default all.
    fractions
        Estimated volume fraction of each tissue, compared over the whole brain.
    least_white
        Voxels with less white matter are left out.
    least_share
        A fibre with less than this share of its voxel's white matter need not be found; a peak
        that finds it is no false positive.
    tolerance_deg
        A peak farther than this from a fibre does not find it.
    relative_threshold, absolute_threshold
        Of the peaks, the same for every model.

    Returns
    -------
    score
        Fibres closer than 25 degrees count as one.
    """
    brain = truth.mask if mask is None else truth.mask & mask
    scored = brain & (truth.tissue[..., 0] >= least_white)
    peaks = find_peaks(
        fodf_sh,
        scored,
        relative_threshold=relative_threshold,
        absolute_threshold=absolute_threshold,
        min_separation_deg=_CLOSEST_DEG,
    )
    shares = truth.fractions[scored] / truth.tissue[scored][:, :1]
    directions, shares = merge_close_fibres(
        truth.directions[scored], shares, closest_deg=_CLOSEST_DEG
    )
    match = match_peaks(
        peaks.directions[scored],
        directions,
        shares,
        tolerance_deg=tolerance_deg,
        least_share=least_share,
    )
    everywhere = np.ones(len(shares), dtype=bool)
    groups = _group_voxels(directions, match.counted)
    turn_deg = _measure_turn(directions, match.counted, scored)
    groups["bending fibre"] = groups["1 fibre"] & (turn_deg >= _BEND_DEG)
    groups["partial volume"] = truth.tissue[scored][:, 0] < _MOSTLY_WHITE
    return FodfScore(
        overall=_score_group(match, everywhere),
        groups={name: _score_group(match, members) for name, members in groups.items()},
        tissue_error=_score_tissue(fractions or {}, truth, brain),
    )


def _group_voxels(directions: np.ndarray, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Sort voxels by their number of fibres and the angle of a crossing."""
    n_fibre = counted.sum(axis=1)
    groups = {"1 fibre": n_fibre == 1, "2 fibres": n_fibre == 2, "3+ fibres": n_fibre >= 3}
    order = np.argsort(~counted, axis=1, kind="stable")[:, :2, None]
    first, second = np.moveaxis(np.take_along_axis(directions, order, axis=1), 1, 0)
    cosine = np.abs(np.einsum("vi,vi->v", first, second)).clip(0, 1)
    angle = np.degrees(np.arccos(cosine))
    for low, high in _CROSSINGS_DEG:
        members = (n_fibre == 2) & (angle >= low) & (angle < high + (high == 90))
        groups[f"crossing {low}-{high} deg"] = members
    return groups


def _measure_turn(
    directions: Float[np.ndarray, "voxel fibre 3"],
    counted: Bool[np.ndarray, "voxel fibre"],
    scored: Bool[np.ndarray, "x y z"],
) -> Float[np.ndarray, " voxel"]:
    """Give the angle by which a voxel's first fibre turns towards its face neighbours, at most.

    A fibre goes on in a neighbour as the closest one there; farther than the fibres that count as
    one it is another fibre. Degrees.
    """
    padded = np.pad(scored, 1)
    axes = np.zeros((*padded.shape, *directions.shape[1:]))
    axes[padded] = directions * counted[..., None]
    first = directions[np.arange(len(directions)), counted.argmax(axis=1)]
    turn_deg = np.zeros(len(directions))
    for axis, step in product(range(3), (-1, 1)):
        near = np.roll(axes, step, axis=axis)[padded]
        cosine = np.abs(np.einsum("vi,vfi->vf", first, near)).max(axis=1).clip(0, 1)
        angle_deg = np.degrees(np.arccos(cosine))
        turn_deg = np.maximum(turn_deg, np.where(angle_deg < _CLOSEST_DEG, angle_deg, 0.0))
    return turn_deg


def _score_group(match: Match, members: np.ndarray) -> GroupScore:
    n_fibre = int(match.counted[members].sum())
    error = match.error_deg[members]
    n_found = int(np.isfinite(error).sum())
    per_fibre = 1.0 / max(n_fibre, 1)
    missed = (match.counted & ~np.isfinite(match.error_deg)).any(axis=1)
    perfect = ~missed & ~match.spurious.any(axis=1)
    return GroupScore(
        n_voxel=int(members.sum()),
        n_fibre=n_fibre,
        angular_error_deg=float(np.nanmean(error)) if n_found else float("nan"),
        false_positives=float(match.spurious[members].sum() * per_fibre),
        false_negatives=float((n_fibre - n_found) * per_fibre),
        success=float(perfect[members].mean()) if members.any() else float("nan"),
    )


def _score_tissue(
    fractions: Mapping[str, np.ndarray], truth: Truth, brain: np.ndarray
) -> dict[str, float]:
    return {
        name: float(np.abs(fractions[name] - truth.tissue[..., TISSUES.index(name)])[brain].mean())
        for name in TISSUES
        if name in fractions
    }


def score_outputs(bids_dir: Path, output_dir: Path) -> dict[str, FodfScore]:
    """Score every model that an output tree holds for the phantom.

    Raises
    ------
    BidsDataError
        There is no truth, or no fODF.
    ImageError
        An fODF lies on another grid than the truth.
    """
    truth = read_truth(bids_dir)
    scores = {}
    for file in sorted(output_dir.glob("sub-01/**/*_param-fod_label-WM_dwimap.nii.gz")):
        fodf_sh = read_array(file)
        if fodf_sh.shape[:3] != truth.tissue.shape[:3]:
            raise ImageError(
                f"{file.name} has {fodf_sh.shape[:3]} voxels, "
                f"but the truth has {truth.tissue.shape[:3]}. "
                "Score an output that keeps the grid of the input."
            )
        model = re.search(r"_model-([^_]+)_", file.name)
        name = model[1] if model else file.name
        scores[name] = score_fodf(fodf_sh, truth, fractions=_read_fractions(file))
    if not scores:
        raise BidsDataError(
            f"{output_dir} holds no sub-01/**/*_param-fod_label-WM_dwimap.nii.gz. "
            "Run shd-bids on the phantom first."
        )
    return scores


def _read_fractions(white_file: Path) -> dict[str, np.ndarray]:
    """Read the tissue fractions beside an fODF; none if white matter is the only tissue."""
    files = {name: Path(str(white_file).replace("label-WM", f"label-{name}")) for name in TISSUES}
    images = {name: read_array(file) for name, file in files.items() if file.is_file()}
    amounts = {  # the first SH coefficient, whether or not there is an axis for others
        name: np.clip(image.reshape(*image.shape[:3], -1)[..., 0], 0.0, None)
        for name, image in images.items()
    }
    total = np.sum(list(amounts.values()), axis=0)
    total = np.where(total > 0, total, 1.0)
    return {name: amount / total for name, amount in amounts.items()} if len(amounts) > 1 else {}


def format_scores(scores: Mapping[str, FodfScore]) -> str:
    """Lay scores out as a table: one row for each group and model."""
    title = f"{'voxels':<20}{'model':<10}{'fibres':>8}{'error':>9}{'false +':>9}{'false -':>9}"
    title += f"{'success':>9}"
    lines = [title, f"{'':<38}{'deg':>9}{'/fibre':>9}{'/fibre':>9}"]
    names = ["all", *next(iter(scores.values())).groups]
    for name in names:
        for model, score in scores.items():
            group = score.overall if name == "all" else score.groups[name]
            lines.append(
                f"{name:<20}{model:<10}{group.n_fibre:>8}{group.angular_error_deg:>9.2f}"
                f"{group.false_positives:>9.3f}{group.false_negatives:>9.3f}{group.success:>9.3f}"
            )
    for model, score in scores.items():
        errors = ", ".join(f"{name} {error:.3f}" for name, error in score.tissue_error.items())
        lines.append(f"tissue fractions of {model}, mean absolute error: {errors or 'no tissues'}")
    return "\n".join(lines)


def describe_score(score: FodfScore) -> dict[str, Any]:
    """Lay a score out for JSON: what is not defined is null."""
    return {
        "overall": _describe_group(score.overall),
        "groups": {name: _describe_group(group) for name, group in score.groups.items()},
        "tissue_error": score.tissue_error,
    }


def _describe_group(group: GroupScore) -> dict[str, Any]:
    return {key: value if isfinite(value) else None for key, value in asdict(group).items()}


def main(argv: list[str] | None = None) -> None:
    """Print the scores of an output tree."""
    parser = argparse.ArgumentParser(prog="python -m shd_bids.testing.score", description=__doc__)
    parser.add_argument("bids_dir", type=Path, help="a phantom dataset")
    parser.add_argument("output_dir", type=Path, help="what shd-bids made of it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores here, too")
    options = parser.parse_args(argv)
    scores = score_outputs(options.bids_dir, options.output_dir)
    print(format_scores(scores))
    if options.json:
        write_json(options.json, {model: describe_score(score) for model, score in scores.items()})


if __name__ == "__main__":
    main()
