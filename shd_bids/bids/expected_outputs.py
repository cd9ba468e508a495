"""Which outputs of a series were asked for and are not there, by their names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shd_bids.config import LEVELS, SHD_MODELS

from .study_series import StudySeries

_MAPS = ("peaks", "rmse", "afd", "nufo", "gfa", "dec")
# What stands beside SHD-TV where the user named no model; which one follows from the shells.
_DEFAULT_MODELS = (("shd-tv",), ("csd", "msmt-csd"))


def missing_outputs(series: StudySeries, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what a run was asked to make of a series and is not there.

    What depends on the data and not on the settings alone is not expected: grey matter, a field
    map, weights of streamlines where they were left to ``auto``.

    Parameters
    ----------
    series
        With its files.
    settings
        Of the run, by section and name, as in ``shd-bids.toml``; what is absent has its default.

    Returns
    -------
    list[str]
        In the order of the stages, each named as in ``fod (shdtv)``; empty if nothing is known of
        the run.
    """
    if not settings:
        return []
    execution, anat = settings.get("execution", {}), settings.get("anat", {})
    deconv, tracking = settings.get("deconv", {}), settings.get("tracking", {})
    level = LEVELS.index(execution.get("level", LEVELS[-1]))
    gaps = list(_preproc_gaps(series, anat))
    if level >= LEVELS.index("response"):
        wm = series.find("dwimap", ".txt", param="response", label="WM")
        gaps += [] if wm else ["response (WM)"]
    if level >= LEVELS.index("fod"):
        asked = [(model,) for model in deconv.get("fod_models", ())] or _DEFAULT_MODELS
        for models in asked:
            gaps += _model_gaps(series, models)
        if level == LEVELS.index("full") and not tracking.get("skip_tractography", False):
            gaps += _tract_gaps(series, _label(asked[0][0]), tracking)
    return gaps


def _preproc_gaps(series: StudySeries, anat: Mapping[str, Any]) -> Iterator[str]:
    has_mask = series.find("mask", ".nii.gz", space=series.space, desc="brain")
    # A series that came preprocessed is not written again, and no dwiref is made of it.
    is_raw = series.space == "orig" and (series.find("dwiref", ".nii.gz") or not has_mask)
    if is_raw and not series.find("dwi", ".nii.gz", desc="preproc"):
        yield "preprocessed series"
    if not has_mask:
        yield "brain mask"
    if not series.find("qc", ".tsv", desc="image"):
        yield "measures (image_qc)"
    if not series.find("timeseries", ".tsv", desc="confounds"):
        yield "confounds"
    for asked in anat.get("output_spaces", ()):
        space = str(asked).partition(":")[0]
        if space != "dwi" and not series.find("mask", ".nii.gz", space=space, desc="brain"):
            yield f"maps in {space}"
    n_asked = len(set(anat.get("atlases", ())))
    n_found = len(series.labels("seg", "dseg", ".nii.gz", space=series.space))
    if n_found < n_asked:
        yield f"atlases ({n_asked - n_found} of {n_asked})"


def _model_gaps(series: StudySeries, models: Sequence[str]) -> Iterator[str]:
    """Say what one model lacks, the one of several that there is most of."""
    labels = [_label(model) for model in models]
    here = {"space": series.space}
    fitted = [
        label for label in labels
        if series.find("dwimap", ".nii.gz", model=label, param="fod", label="WM", **here)
    ]  # fmt: skip
    if not fitted:
        yield f"fod ({' or '.join(labels)})"
        return
    label = fitted[0]
    own = {"model": label, **here}
    if not series.find("dwimap", ".nii.gz", param="fraction", label="WM", **own):
        yield f"fractions ({label})"
    absent = [name for name in _MAPS if not series.find("dwimap", ".nii.gz", param=name, **own)]
    if absent:
        yield f"maps ({label}: {', '.join(absent)})"
    is_network = label in [_label(model) for model in SHD_MODELS]
    if is_network and not series.find("model", ".safetensors", desc="weights", **own):
        yield f"network weights ({label})"


def _tract_gaps(series: StudySeries, model: str, tracking: Mapping[str, Any]) -> Iterator[str]:
    own = {
        "space": series.space,
        "model": model,
        "track": tracking.get("tracking_method", "probabilistic"),
    }
    plain = {**own, "desc": None, "bundle": None}
    for kind in tracking.get("tractogram_formats", ("tck",)):
        if not series.find("tractogram", f".{kind}", **plain):
            yield f"tractogram ({kind})"
    if not series.find("dwimap", ".nii.gz", param="tdi", **own):
        yield "track density"
    for atlas in series.labels("seg", "dseg", ".nii.gz", space=series.space):
        if not series.find("connectivity", ".tsv", seg=atlas, desc="count", **own):
            yield f"connectome ({atlas})"
    weighed = tracking.get("streamline_weights", "auto") in ("sift2", "life")
    if weighed and not series.find("tractogram", ".tsv", desc="weights", **own):
        yield "streamline weights"
    if tracking.get("model_bundles") and not series.find(
        "tractogram", ".tsv", desc="bundles", **own
    ):
        yield "bundles"


def _label(model: str) -> str:
    """Give a model's label in file names."""
    return model.replace("-", "")
