"""What is taken from an earlier run of shd-bids, and why the rest is made anew.

A result is taken only where its sidecar tells that it is what is asked for now; flags win. Where
one is not taken, the log says what differs, so that the flag that would have it taken can be given.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from shd_bids.anat.atlas import Atlas
from shd_bids.bids.files import gzip_trailer
from shd_bids.bids.own import OwnAnatomy, OwnModel, OwnResults
from shd_bids.config import LEVELS, SHD_MODELS, TISSUES, RunConfig
from shd_bids.deconvolution.recorded import AskedFit, differences
from shd_bids.dwi.images import open_image
from shd_bids.errors import ImageError, ResponseError
from shd_bids.response.io import read_response

from .sources import Series

LOGGER = logging.getLogger(__name__)

MAPS = ("peaks", "rmse", "afd", "nufo", "gfa", "dec")
_SAME_PLACE_MM = 0.01
_SAME_COEFFICIENT = 1e-6  # of the largest: responses are written with ten digits


@dataclass(frozen=True)
class OwnPlan:
    """What is taken over of one series, from which dataset.

    ``kept`` are the paths of all files there, relative to the dataset, that stand for what this
    run would write under the same names: they are neither made, nor copied, nor replaced.
    """

    results: OwnResults | None = None
    measures: bool = False  # mask, quality measures and confounds
    anatomy: OwnAnatomy | None = None
    atlases: tuple[str, ...] = ()  # labels
    responses: bool = False
    models: tuple[str, ...] = ()  # as in --fod-model
    needs_series: bool = True  # whether anything is still computed from the diffusion images
    kept: frozenset[str] = field(default_factory=frozenset)

    @property
    def dataset_dir(self) -> Path | None:
        """Where the results lie."""
        return None if self.results is None else self.results.dataset_dir


def keep_readable(own: OwnResults, image: nib.Nifti1Image, stem: str) -> OwnResults:
    """Drop what cannot be read or lies on another grid than the series, and say so.

    Parameters
    ----------
    own
        What was found.
    image
        The series.
    stem
        What the series is called.

    Returns
    -------
    OwnResults
        Its images are whole, as far as their headers and last bytes tell.
    """

    def fits(files: Iterable[Path | None], what: str) -> bool:
        for file in files:
            reason = file and _why_unusable(file, image)
            if reason:
                LOGGER.info("%s: %s is made anew, because %s.", stem, what, reason)
                return False
        return True

    anatomy = own.anatomy
    if anatomy and not fits([anatomy.tissue_dwi_file, anatomy.mask_dwi_file], "the tissue map"):
        anatomy = None
    atlases = {
        label: entry
        for label, entry in own.atlases.items()
        if fits([entry[0]], f"the atlas {label}")
    }
    models = {
        label: model
        for label, model in own.models.items()
        if fits(model.images, f"the model {label}")
    }
    measured = fits([own.mask_file], "the brain mask")
    return replace(
        own,
        mask_file=own.mask_file if measured else None,
        b0_file=own.b0_file if fits([own.b0_file], "the mean b=0 image") else None,
        anatomy=anatomy,
        atlases=atlases,
        models=models,
    )


def plan_own(
    own: OwnResults,
    series: Series,
    config: RunConfig,
    *,
    shell_bvals: Sequence[float],
    models: Sequence[str],
    atlases: Sequence[Atlas],
    weights: str,
) -> OwnPlan:
    """Decide what is taken of earlier results.

    Parameters
    ----------
    own
        That can be read.
    series
        The preprocessed series.
    config
        Settings of the run, resources resolved.
    shell_bvals
        Shells of the series, b=0 first, s/mm².
    models
        That are fitted, as in `--fod-model`.
    atlases
        That are brought to the series.
    weights
        How streamlines are weighed.

    Returns
    -------
    OwnPlan
        The log says what is taken and what is not.
    """
    stem, level = series.source_stem, LEVELS.index(config.execution.level)
    missing = [
        what
        for what, file in (
            ("the brain mask", own.mask_file),
            ("*_desc-image_qc.tsv", own.qc_file),
            ("*_desc-confounds_timeseries.tsv", own.confounds_file),
        )
        if file is None
    ]
    if missing:
        _say_anew(stem, "the measures of the series", [f"there is no {' and no '.join(missing)}"])
    checksums = _checksums(own, series)
    reasons = _why_not_responses(own, config, shell_bvals, checksums)
    with_response = level >= LEVELS.index("response") and not reasons
    if level >= LEVELS.index("response") and reasons:
        _say_anew(stem, "the response", reasons)
    taken: list[str] = []
    for model in models if level >= LEVELS.index("fod") else ():
        label = model.replace("-", "")
        found = own.models.get(label, OwnModel())
        reasons = _why_not_model(found, model, config, checksums)
        if found.fod_files and not with_response:
            reasons.append("its response is not taken")
        elif not reasons:
            reasons = _why_not_its_response(found, own.response_fields)
        if reasons:
            _say_anew(stem, f"the model {model}", reasons)
        else:
            taken.append(model)
    by_label = {atlas.label: atlas for atlas in atlases}
    labels = []
    for label, atlas in by_label.items():
        reasons = _why_not_atlas(atlas, own, label)
        if reasons:
            _say_anew(stem, f"the atlas {label}", reasons)
        else:
            labels.append(label)
    fitted = level >= LEVELS.index("fod")
    anatomy = None if config.anat.skip_anat else own.anatomy
    needs_series = (
        bool(missing)
        or own.b0_file is None
        or (level >= LEVELS.index("response") and not with_response)
        or (fitted and len(taken) < len(models))
        or weights == "life"
    )
    plan = OwnPlan(
        own, not missing, anatomy, tuple(labels), with_response, tuple(taken), needs_series
    )
    plan = replace(plan, kept=frozenset(map(own.relative, _kept(plan, own))))
    _say_taken(stem, plan)
    return plan


def _kept(plan: OwnPlan, own: OwnResults) -> list[Path]:
    """List all files that are taken over; those of preprocessing are, whatever else is not."""
    of_preproc = (own.mask_file, own.b0_file, own.confounds_file, own.qc_file)
    files = [file for file in (*of_preproc, *own.other_files) if file]
    files += plan.anatomy.files if plan.anatomy else ()
    for label in plan.atlases:
        files += own.atlases[label][:2]
    files += own.response_files.values() if plan.responses else ()
    for model in plan.models:
        found = own.models[model.replace("-", "")]
        files += found.images
        files += [found.weights_file] if found.weights_file else []
    return files


def _say_anew(stem: str, what: str, reasons: Sequence[str]) -> None:
    LOGGER.info("%s: %s is made anew: %s.", stem, what, "; ".join(reasons))


def _say_taken(stem: str, plan: OwnPlan) -> None:
    kinds = {
        "measures": plan.measures,
        "tissue map": plan.anatomy,
        "atlases": ", ".join(plan.atlases),
        "response": plan.responses,
        "models": ", ".join(plan.models),
    }
    taken = [name if value in (True,) or name == "tissue map" else f"{name} {value}"
             for name, value in kinds.items() if value]  # fmt: skip
    results = plan.results
    if taken and results is not None:
        LOGGER.info(
            "%s: taken from %s (shd-bids %s), where the files stay: %s.",
            stem,
            results.dataset_dir,
            results.version,
            "; ".join(taken),
        )


def _why_unusable(file: Path, series: nib.Nifti1Image) -> str:
    """Say what is wrong with an image, by its header and its last bytes."""
    try:
        image = open_image(file)
    except ImageError as error:
        return str(error).rstrip(".")
    if image.shape[:3] != series.shape[:3] or not np.allclose(
        np.asarray(image.affine), np.asarray(series.affine), atol=_SAME_PLACE_MM
    ):
        return f"{file.name} lies on another grid than the series"
    trailer, header = gzip_trailer(file), image.header
    n_byte = int(header["vox_offset"]) + int(np.prod(image.shape)) * header["bitpix"].item() // 8
    if trailer is not None and trailer[1] != n_byte % 2**32:
        return f"{file.name} is truncated"
    return ""


def _checksums(own: OwnResults, series: Series) -> dict[str, str]:
    """Read the checksums of what models are fitted to, as sidecars record them."""
    files = {"Series": series.source_files[0], "Mask": own.mask_file}
    trailers = {what: gzip_trailer(file) for what, file in files.items() if file}
    return {what: trailer[0] for what, trailer in trailers.items() if trailer}


def _why_stale(fields: Mapping[str, Any], checksums: Mapping[str, str]) -> list[str]:
    recorded = fields.get("SourceChecksums") or {}
    return [
        f"it was made from another {what.lower()} than the one there now"
        for what, checksum in checksums.items()
        if recorded.get(what, checksum) != checksum
    ]


def _why_not_responses(
    own: OwnResults,
    config: RunConfig,
    shell_bvals: Sequence[float],
    checksums: Mapping[str, str],
) -> list[str]:
    """Say why the responses there are not those that are asked for."""
    given, wanted = config.response.files, TISSUES if len(shell_bvals) > 2 else ("WM", "CSF")
    tissues = tuple(tissue for tissue in TISSUES if tissue in (given or wanted))
    missing = [tissue for tissue in tissues if tissue not in own.response_files]
    if missing:
        return [f"there is no *_param-response_label-{missing[0]}_dwimap.txt"]
    if set(own.response_files) - set(tissues):
        return [f"it was of {', '.join(own.response_files)}; asked for is {', '.join(tissues)}"]
    bvals = np.asarray(shell_bvals, dtype=float)
    for tissue in tissues:
        fields = own.response_fields[tissue]
        told = fields.get("ResponseFunction") or {}
        if not np.array_equal(told.get("BValues", ()), bvals):
            shells = ", ".join(f"{bval:g}" for bval in told.get("BValues", ()))
            return [f"its shells were b = {shells or 'not told'}; now they are "
                    f"{', '.join(f'{bval:g}' for bval in bvals)}"]  # fmt: skip
        try:
            found = read_response(own.response_files[tissue], tissue, bvals).coefficients
            asked = read_response(given[tissue], tissue, bvals).coefficients if given else None
        except ResponseError as error:
            return [str(error).rstrip(".")]
        if asked is not None and not _same(asked, found):
            return [f"--response {tissue}={given[tissue]} differs from it"]
        if stale := _why_stale(fields, checksums):
            return stale
        if given:
            continue
        if "NumberOfVoxels" not in (fields.get("Settings") or {}):
            return ["it was given by --response, which is left out now"]
        if tissue == "WM" and 2 * (found.shape[1] - 1) != max(config.deconv.lmax, 8):
            return [f"--lmax is {config.deconv.lmax}, its degree is {2 * (found.shape[1] - 1)}"]
    return []


def _why_not_model(
    found: OwnModel, model: str, config: RunConfig, checksums: Mapping[str, str]
) -> list[str]:
    """Say why the results of one model are not those that are asked for, but for the response."""
    if not found.images:
        return ["there is none yet"]
    settings = found.fields.get("Settings") or {}
    if not settings:
        return ["the sidecar of *_param-fod_label-WM_dwimap.nii.gz tells no Settings"]
    tissues = settings.get("tissues") or ["WM"]
    parts = {
        **{f"param-fod_label-{tissue}": tissue in found.fod_files for tissue in tissues},
        **{f"param-fraction_label-{tissue}": tissue in found.fraction_files for tissue in tissues},
        **{f"param-{name}": name in found.map_files for name in MAPS},
    }
    missing = [f"*_{name}_dwimap.nii.gz" for name, there in parts.items() if not there]
    if model in SHD_MODELS and found.weights_file is None:
        missing.append("*_desc-weights_model.safetensors")
    if missing:
        return [f"half of it is missing ({', '.join(missing)})"]
    deconv = config.deconv
    asked = AskedFit(
        model=model,
        lmax=deconv.lmax,
        random_seed=deconv.random_seed,
        preset=deconv.shd_preset or "fast",
        n_step=deconv.shd_steps,
        tv_weight=deconv.tv_weight,
        precision=deconv.precision,
        weights_file=deconv.weights,
    )
    return differences(asked, settings) + _why_stale(found.fields, checksums)


def _why_not_its_response(
    found: OwnModel, response_fields: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Say whether a model was fitted with other responses than those that lie beside it."""
    for tissue, fitted in found.responses.items():
        told = response_fields[tissue]["ResponseFunction"]["Coefficients"]
        if not fitted or not _same(np.asarray(fitted), np.asarray(told)):
            return [f"it was fitted with another response of {tissue} than lies beside it"]
    return []


def _why_not_atlas(atlas: Atlas, own: OwnResults, label: str) -> list[str]:
    if label not in own.atlases:
        return ["it is not there yet"]
    image_file, _, fields = own.atlases[label]
    sources = [str(uri).rpartition("/")[2] for uri in fields.get("Sources", [])]
    if atlas.file.name not in sources:
        return [f"it was made from {', '.join(sources[:1]) or 'an image that is not told'}"]
    if atlas.file.stat().st_mtime > image_file.stat().st_mtime:
        return [f"{atlas.file.name} is newer"]
    return []


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(
        np.abs(one - other).max() <= _SAME_COEFFICIENT * np.abs(other).max()
    )
