"""What is taken from an earlier run of shd-bids, and why the rest is made anew.

A result is taken only where its sidecar tells that it is what is asked for now; flags win. Where
one is not taken, the log says what differs, so that the flag that would have it taken can be given.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel as nib

from shd_bids.anat.atlas import Atlas
from shd_bids.bids.own import OwnAnatomy, OwnModel, OwnResults
from shd_bids.config import LEVELS, RunConfig

from .own_fit import (
    read_checksums,
    why_not_atlas,
    why_not_its_response,
    why_not_model,
    why_not_responses,
    why_unusable,
)
from .sources import Series

LOGGER = logging.getLogger(__name__)


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
            reason = file and why_unusable(file, image)
            if reason:
                LOGGER.info("%s: %s is not taken: %s.", stem, what, reason)
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
    if config.response.files:
        own = replace(own, response_files=own.given_response_files)
    stem, level = series.source_stem, LEVELS.index(config.execution.level)
    with_response, with_models = level >= LEVELS.index("response"), level >= LEVELS.index("fod")
    checksums = read_checksums(own, series)
    measured = _fits(stem, "the measures of the series", _why_not_measures(own))
    responses = with_response and _fits(
        stem, "the response", why_not_responses(own, config, shell_bvals, checksums)
    )
    taken = [
        model
        for model in (models if with_models else ())
        if _fits(stem, f"the model {model}", _why_not(model, own, config, checksums, responses))
    ]
    labels = [
        atlas.label
        for atlas in atlases
        if _fits(stem, f"the atlas {atlas.label}", why_not_atlas(atlas, own))
    ]
    needs_series = (
        not (measured and own.b0_file)
        or responses != with_response
        or (with_models and len(taken) < len(models))
        or weights == "life"
    )
    plan = OwnPlan(
        results=own,
        measures=measured,
        anatomy=None if config.anat.skip_anat else own.anatomy,
        atlases=tuple(labels),
        responses=responses,
        models=tuple(taken),
        needs_series=needs_series,
    )
    _say_taken(stem, plan)
    return replace(plan, kept=frozenset(map(own.relative, _kept(plan, own))))


def _fits(stem: str, what: str, reasons: Sequence[str]) -> bool:
    """Tell whether nothing speaks against a result, and say what does."""
    if reasons:
        LOGGER.info("%s: %s will be made anew: %s.", stem, what, "; ".join(reasons))
    return not reasons


def _why_not_measures(own: OwnResults) -> list[str]:
    parts = {
        "*_desc-brain_mask.nii.gz": own.mask_file,
        "*_desc-image_qc.tsv": own.qc_file,
        "*_desc-confounds_timeseries.tsv": own.confounds_file,
    }
    missing = [name for name, file in parts.items() if file is None]
    return [f"missing or unusable is {' and '.join(missing)}"] if missing else []


def _why_not(
    model: str,
    own: OwnResults,
    config: RunConfig,
    checksums: Mapping[str, str],
    responses: bool,
) -> list[str]:
    found = own.models.get(model.replace("-", ""), OwnModel())
    reasons = why_not_model(found, model, config, checksums)
    if found.images and not responses:
        reasons.append("its response is not taken")
    return reasons or why_not_its_response(found, own.response_fields)


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


def _say_taken(stem: str, plan: OwnPlan) -> None:
    taken = [
        *(["measures"] if plan.measures else []),
        *(["tissue map"] if plan.anatomy else []),
        *(f"atlas {label}" for label in plan.atlases),
        *(["response"] if plan.responses else []),
        *(f"model {model}" for model in plan.models),
    ]
    results = plan.results
    if taken and results is not None:
        LOGGER.info(
            "%s: taken from %s (shd-bids %s), where the files stay: %s.",
            stem,
            results.dataset_dir,
            results.version,
            "; ".join(taken),
        )
