"""What each measure of a study is, its unit, and the group of columns that it stands in."""

from shd_bids.dwi.judgement import LIMITS, Limit
from shd_bids.dwi.quality import describe_measure

from .svg import number

#: Measures of one model, in its `desc-model_qc.tsv` and with the model's label behind them in the
#: table of a study.
MODEL_MEANINGS = {
    "residual_median": ("Residual, median in the mask", "% of b=0"),
    "residual_p95": ("Residual, 95th percentile in the mask", "% of b=0"),
    "fraction_WM": ("Volume fraction of white matter, mean in the mask", ""),
    "fraction_GM": ("Volume fraction of grey matter, mean in the mask", ""),
    "fraction_CSF": ("Volume fraction of CSF, mean in the mask", ""),
    "mean_afd": ("Apparent fibre density, mean in the mask", ""),
    "mean_gfa": ("Generalised fractional anisotropy, mean in the mask", ""),
    "mean_nufo": ("Fibre directions in a voxel, mean in the mask", ""),
    "training_loss": ("Loss at the end of the training", ""),
    "loss_over_start": ("Loss at the end of the training over that before it", ""),
    "fit_seconds": ("Time of the fit", "s"),
}
# Names that end in a gap have a tissue, an atlas or a model's label behind it.
_MEANINGS = {
    "response_b0_": ("Signal of {} at b=0, by its response", "scanner units"),
    "response_voxels_": ("Voxels that the response of {} comes from", ""),
    "response_gfa": ("Anisotropy (GFA) of the white matter response, largest shell", ""),
    "streamlines": ("Streamlines", ""),
    "connectome_assigned_": ("Streamlines that join regions of {}", "%"),
    "network_loss": ("Loss of the study's network on this series", ""),
    "neighbor_corr_gain": ("Correlation of neighbouring volumes, gained by preprocessing", ""),
    "distortion_left": ("Disagreement of opposite b=0 images, after over before", ""),
}
GROUPS = ("Main", "Acquisition", "Preprocessing", "Responses", "Models", "Streamlines")
_MAIN = (
    "mean_fd",
    "max_fd",
    "bad_slices_percent",
    "raw_neighbor_corr",
    "neighbor_corr_gain",
    "cnr_b",
    "t1_dice_distance",
    "rms_displacement_mm",
    "gradient_check",
    "residual_median_",
    "streamlines",
)
_ACQUISITION = ("raw_dimension_", "raw_voxel_size_", "raw_max_b", "raw_num_dir", "num_volumes_b")
#: Words instead of numbers.
WORDS = {"gradient_check": {1: "yes", 0: "cannot be told", -1: "no"}}


def describe(name: str) -> tuple[str, str]:
    """Say what a measure of the study's table is and in what unit; an unknown one is its name.

    Examples
    --------
    >>> describe("residual_median_shdtv")
    ('Residual, median in the mask (shdtv)', '% of b=0')
    >>> describe("response_b0_WM")[0]
    'Signal of WM at b=0, by its response'
    """
    for stem, (meaning, unit) in MODEL_MEANINGS.items():
        if name.startswith(f"{stem}_"):
            return f"{meaning} ({name.removeprefix(f'{stem}_')})", unit
    for stem, (meaning, unit) in _MEANINGS.items():
        if name == stem or (stem.endswith("_") and name.startswith(stem)):
            return meaning.format(name.removeprefix(stem)), unit
    try:
        return describe_measure(name)
    except ValueError:  # a column that another version wrote
        return name.replace("_", " "), ""


def is_main(name: str) -> bool:
    """Tell whether a measure is shown before any is chosen."""
    return any(name == stem or (stem[-1] in "b_" and name.startswith(stem)) for stem in _MAIN)


def group_of(name: str) -> str:
    """Give the group of columns that a measure stands in.

    Examples
    --------
    >>> group_of("raw_max_b"), group_of("fraction_GM_csd"), group_of("mean_fd")
    ('Acquisition', 'Models', 'Main')
    """
    if is_main(name):
        return "Main"
    if name.startswith(_ACQUISITION):
        return "Acquisition"
    if name.startswith("response_"):
        return "Responses"
    if name.startswith("connectome_"):
        return "Streamlines"
    if name == "network_loss" or any(name.startswith(f"{stem}_") for stem in MODEL_MEANINGS):
        return "Models"
    return "Preprocessing"


def limit_of(name: str) -> Limit | None:
    """Give the limits of a measure, if there are any."""
    for limit in LIMITS:
        if name == limit.name or (limit.name.endswith("_b") and name.startswith(limit.name)):
            return limit
    return None


def say_limit(limit: Limit) -> str:
    r"""Say where a measure is good and where it is poor; no line is broken before a number.

    Examples
    --------
    >>> say_limit(LIMITS[0])
    'good ≤\xa00.5, poor >\xa01'
    """
    good, poor = ("≥", "<") if limit.more_is_better else ("≤", ">")
    gap = "\N{NO-BREAK SPACE}"
    return f"good {good}{gap}{number(limit.look)}, poor {poor}{gap}{number(limit.poor)}"
