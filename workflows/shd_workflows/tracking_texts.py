"""What the methods say of streamlines and of what is made of them."""

from collections.abc import Sequence
from pathlib import Path

from shd_bids.config import TISSUES, TrackingConfig
from shd_bids.reports.figures.style import model_name
from shd_bids.reports.methods import join_words
from shd_bids.reports.versions import library_version, program_version

from .derivatives import model_label

_METHODS = {
    "probabilistic": "probabilistically, directions being drawn by the squared amplitude,",
    "deterministic": "deterministically along interpolated peaks (EuDX [@eudx])",
    "ptt": "by parallel transport [@ptt]",
    "pft": "by particle filtering [@girard2014]",
}
_PLACES = {
    "white-matter": "white matter",
    "interface": "the border of grey and white matter",
}
_ENDS = {
    "any": "Streamlines were kept whatever tissue they ended in. ",
    "not-csf": "Streamlines that ended in cerebrospinal fluid were dropped. ",
    "grey-matter": "Streamlines that ended neither in grey matter nor where they left the brain "
    "were dropped. ",
}


def describe_tracking(
    tracking: TrackingConfig,
    *,
    weights: str,
    atlases: Sequence[str],
    with_t1w: bool,
    tissues: Sequence[str],
    model: str,
    voxel_mm: Sequence[float],
    random_seed: int,
) -> str:
    """Say how streamlines were tracked, weighed, counted and recognised.

    Parameters
    ----------
    tracking
        Settings of the stage.
    weights
        ``sift2``, ``life`` or ``none``.
    atlases
        Labels of the atlases whose regions are joined.
    with_t1w
        Whether there are tissues of a T1w image to stop by.
    tissues
        That the model tells apart.
    model
        That is tracked.
    voxel_mm
        Edges of a voxel of its image.
    random_seed
        Of seeds and directions.

    Returns
    -------
    str
        Markdown with citation keys.
    """
    dipy = f"DIPY {library_version('DIPY')} [@dipy]"
    number = (
        f"{tracking.wanted_streamlines:,} streamlines were asked for and tracked"
        if tracking.seeds_per_voxel is None
        else f"Streamlines from {tracking.seeds_per_voxel} seeds in each voxel were tracked"
    )
    start = _PLACES.get(tracking.seed_from, f"voxels of {Path(tracking.seed_from).name}")
    files = join_words([name.upper() for name in tracking.tractogram_formats])
    step_mm = tracking.step_mm or (round(min(voxel_mm), 4) / 2 if voxel_mm else 0.0)
    return (
        f"\n\n### Tractography\n\n{number} {_METHODS[tracking.tracking_method]} with {dipy} on the "
        f"fibre orientation distributions of {model_name(model_label(model))}, from random points "
        f"in {start} (steps of {step_mm:g} mm, at most {tracking.max_angle_deg:g}° a step, "
        f"{tracking.min_length_mm:g} to {tracking.max_length_mm:g} mm long, random seed "
        f"{random_seed}). "
        + _describe_stops(tracking, with_t1w, tissues)
        + _describe_weights(weights)
        + "Maps of their density [@tdi], their ends and their mean length were made. "
        + _describe_regions(tracking, atlases)
        + _describe_bundles(tracking, dipy)
        + f"Streamlines were saved as {files}. "
    )


def _describe_stops(tracking: TrackingConfig, with_t1w: bool, tissues: Sequence[str]) -> str:
    if with_t1w or set(tissues) == set(TISSUES):
        source = "of the T1w image" if with_t1w else "that the deconvolution told apart"
        return (
            f"They stopped by the tissues {source}, by the criterion of continuous maps "
            f"[@girard2014]. {_ENDS[tracking.valid_ends]}"
        )
    found = "by the deconvolution" if "CSF" in tissues else "by the total apparent fibre density"
    return (
        f"They stopped where white matter, {found}, fell below a fifth or no direction stood out. "
        "As grey matter was not known, streamlines were kept whatever tissue they ended in. "
    )


def _describe_weights(weights: str) -> str:
    if weights == "sift2":
        version = program_version("MRtrix3")
        return f"They were weighted by SIFT2 [@sift2] of MRtrix3 {version} [@mrtrix3]. "
    if weights == "life":
        return "They were weighted by LiFE [@life; @life_encode], as shd-bids solves it. "
    return "They were not weighted. "


def _describe_regions(tracking: TrackingConfig, atlases: Sequence[str]) -> str:
    if not atlases:
        return ""
    return (
        f"Connectivity between the regions of {join_words(atlases)} was counted; an end belongs to "
        f"the nearest region within {tracking.assignment_radius_mm:g} mm [@sift_connectome]. "
    )


def _describe_bundles(tracking: TrackingConfig, dipy: str) -> str:
    if tracking.model_bundles is None:
        return ""
    return (
        f"Bundles were recognised by their models [@recobundles] with {dipy}, and maps profiled "
        "along them [@afq]. "
    )
