"""Which measures of a scan ask for a look: limits, stated here once, and what lies beyond them.

QSIPrep and FSL's eddy QC report most of these measures and set no limits. Those below are
conventions of ours, chosen so that a usual scan of a healthy adult stays within them; a study may
well want others. They mark a scan and change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from .quality import describe_measure


class Verdict(StrEnum):
    """What a measure asks of its reader."""

    GOOD = "good"
    LOOK = "look"
    POOR = "poor"
    NONE = "not measured"


@dataclass(frozen=True)
class Limit:
    """Where a measure stops being good, and what it means where it is poor.

    Up to ``look`` a measure is good, beyond ``poor`` it is poor; down to and below where more is
    better. A ``name`` that ends in ``_b`` is that of one measure per shell.
    """

    name: str
    look: float
    poor: float
    warning: str
    more_is_better: bool = False

    def judge(self, value: float) -> Verdict:
        """Place a value between the limits.

        Examples
        --------
        >>> str(Limit("mean_fd", 0.5, 1.0, "").judge(0.7))
        'look'
        """
        sign = -1 if self.more_is_better else 1
        if sign * value > sign * self.poor:
            return Verdict.POOR
        return Verdict.LOOK if sign * value > sign * self.look else Verdict.GOOD


@dataclass(frozen=True)
class Judgement:
    """One measure against its limit; ``remark`` says why a measure that was made tells nothing."""

    name: str
    meaning: str
    unit: str
    limit: Limit
    value: float | None
    verdict: Verdict
    remark: str = ""


LIMITS = (
    Limit("mean_fd", 0.5, 1.0, "The head moved much of the time."),
    Limit("max_fd", 2.0, 5.0, "The head moved far from one volume to the next."),
    Limit(
        "bad_slices_percent", 5.0, 10.0,
        "Many slices lost their signal. What replaces them is a prediction, not a measurement.",
    ),
    Limit(
        "raw_neighbor_corr", 0.5, 0.4,
        "Volumes of like directions differ: noise, motion or artefacts are strong.",
        more_is_better=True,
    ),
    Limit(
        "neighbor_corr_gain", 0.0, -0.05,
        "Volumes of like directions differ more after preprocessing than before: a correction may "
        "have done harm.",
        more_is_better=True,
    ),
    Limit(
        "cnr_b", 0.5, 0.25,
        "A volume of this shell tells its direction hardly above the noise.",
        more_is_better=True,
    ),
    Limit(
        "t1_dice_distance", 0.1, 0.2,
        "The T1w image and the series show brains of different outline: look at both masks and at "
        "the registration.",
    ),
    Limit(
        "rms_displacement_mm", 5.0, 10.0,
        "Distortion is large: where signal piled up, correction cannot part it again.",
    ),
    Limit(
        "distortion_left", 0.8, 1.0,
        "The correction of distortion does not bring the opposite images together: the field may "
        "be invented.",
    ),
    Limit(
        "gradient_check", 1.0, 0.0, "The gradient directions do not fit the images.",
        more_is_better=True,
    ),
)  # fmt: skip

_MEANINGS = {
    "cnr_b": ("Contrast over noise", ""),
    "neighbor_corr_gain": ("Correlation of neighbouring volumes, gained by preprocessing", ""),
    "distortion_left": ("Disagreement of opposite b=0 images, after over before", ""),
}


def judge(
    measures: Mapping[str, float | int], not_judged: Mapping[str, str] | None = None
) -> list[Judgement]:
    """Judge the main measures of a scan.

    Parameters
    ----------
    measures
        Columns of ``image_qc`` by name.
    not_judged
        Measures that tell nothing in this scan, and why.

    Returns
    -------
    list[Judgement]
        In the order of the limits; a limit that none of the measures has gives a judgement that
        says so.
    """
    known = {name: float(value) for name, value in measures.items()}
    known |= _derive(known)
    judgements = []
    for limit in LIMITS:
        names = [name for name in known if name == limit.name or _is_shell_of(name, limit)]
        judgements += [
            _judge_one(name, limit, known.get(name), (not_judged or {}).get(name, ""))
            for name in names or [limit.name]
        ]
    return judgements


def _is_shell_of(name: str, limit: Limit) -> bool:
    return limit.name.endswith("_b") and name.startswith(limit.name)


def _derive(measures: Mapping[str, float]) -> dict[str, float]:
    derived = {}
    if {"raw_neighbor_corr", "preproc_neighbor_corr"} <= measures.keys():
        gain = measures["preproc_neighbor_corr"] - measures["raw_neighbor_corr"]
        derived["neighbor_corr_gain"] = gain
    if measures.get("difference_before"):
        derived["distortion_left"] = measures["difference_after"] / measures["difference_before"]
    return derived


def _judge_one(name: str, limit: Limit, value: float | None, reason: str) -> Judgement:
    meaning, unit = _MEANINGS.get(name) or describe_measure(name)
    if value is None or np.isnan(value) or reason:
        return Judgement(name, meaning, unit, limit, value, Verdict.NONE, reason)
    return Judgement(name, meaning, unit, limit, value, limit.judge(value))
