"""The graph that takes over what another pipeline has preprocessed; nothing is resampled."""

from pathlib import Path

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.dataset import read_dataset_description
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.config import PreprocConfig
from shd_bids.interfaces.corrections import CheckOrientation
from shd_bids.interfaces.ingest import IngestPreprocessed
from shd_bids.interfaces.preproc import EstimateMask
from shd_bids.interfaces.quality import MeasureQuality

from .preproc import CHECKED, mask_text

_READ = {
    "fsl": "Its gradient directions were read by the FSL convention. ",
    "mrtrix": "Its gradient directions were read along scanner axes, as MRtrix3 writes them. ",
    "image-axes": "Its gradient directions were read along the image's axes, as QSIPrep writes "
    "them. ",
}
INGEST_FIELDS = (
    "dwi_file",
    "gradients_file",
    "mask_file",
    "b0_file",
    "orientation_files",
    "measures",
    "gradient_fields",
    "confounds_file",
)


def init_ingest_wf(
    *,
    series: PreprocessedSeries,
    preproc: PreprocConfig,
    size_gb: float,
    name: str = "ingest_wf",
) -> LiterateWorkflow:
    """Build the way in of a preprocessed series.

    Parameters
    ----------
    series
        What was found.
    preproc
        Settings of the stage; only the mask's and the shells' are used.
    size_gb
        Size of the series as 32-bit floats, in GB.
    name
        Name of the workflow.

    Inputs
    ------
    None
        The files are those of the series.

    Outputs
    -------
    dwi_file, gradients_file
        The series as it is, and its gradient table, MRtrix3 text in scanner axes.
    mask_file, b0_file
        Brain mask, its own or one that is estimated, and mean of the b=0 volumes.
    orientation_files
        What the check of the gradients found.
    measures, confounds_file
        Measures of the series by name, and of every volume; its own confounds where it has them.
    gradient_fields
        Verdict on the gradients, for sidecars.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = _describe(series, preproc)
    shells = {"b0_threshold": preproc.b0_threshold, "shell_tolerance": preproc.shell_tolerance}
    outputnode = Node(IdentityInterface(list(INGEST_FIELDS)), name="outputnode")
    ingest = Node(
        IngestPreprocessed(
            dwi_file=str(series.dwi_file),
            gradient_files=[str(file) for file in series.gradients.files],
            convention=series.gradients.convention,
            b0_threshold=preproc.b0_threshold,
        ),
        name="ingest",
        mem_gb=0.5 + 3 * size_gb,
    )
    check_orientation = Node(
        CheckOrientation(**shells), name="check_orientation", mem_gb=0.5 + 2 * size_gb
    )
    measure_quality = Node(
        MeasureQuality(**shells), name="measure_quality", mem_gb=0.5 + 3 * size_gb
    )
    masker = ingest
    if series.confounds_file:
        measure_quality.inputs.given_confounds_file = str(series.confounds_file)
    if series.mask_file:
        ingest.inputs.mask_file = str(series.mask_file)
    else:
        masker = Node(
            EstimateMask(method=preproc.mask_method, **shells),
            name="estimate_mask",
            mem_gb=0.5 + 3 * size_gb,
        )
        workflow.connect([
            (ingest, masker, [("dwi_file", "dwi_file"), ("gradients_file", "gradients_file")]),
        ])  # fmt: skip
    for node in (check_orientation, measure_quality, outputnode):
        workflow.connect([
            (ingest, node, [("dwi_file", "dwi_file"), ("gradients_file", "gradients_file")]),
            (masker, node, [("mask_file", "mask_file")]),
        ])  # fmt: skip
    workflow.connect([
        (ingest, outputnode, [("b0_file", "b0_file")]),
        (check_orientation, measure_quality, [("measures", "gradient_measures")]),
        (check_orientation, outputnode, [
            ("out_files", "orientation_files"),
            ("fields", "gradient_fields"),
        ]),
        (measure_quality, outputnode, [
            ("measures", "measures"),
            ("confounds_file", "confounds_file"),
        ]),
    ])  # fmt: skip
    return workflow


def _describe(series: PreprocessedSeries, preproc: PreprocConfig) -> str:
    by = _made_by(series.dwi_file)
    masked = "Its own brain mask was used. " if series.mask_file else mask_text(preproc.mask_method)
    return (
        f"\n\n### Preprocessing\n\nThe diffusion series had been preprocessed before{by} and was "
        f"taken as it is, without resampling. {_READ[series.gradients.convention]}{masked}{CHECKED}"
    )


def _made_by(dwi_file: Path) -> str:
    """Name the program that made a file, with its version, as its dataset's description does."""
    for folder in dwi_file.parents:
        if (folder / "dataset_description.json").is_file():
            made = read_dataset_description(folder).get("GeneratedBy")
            first = made[0] if isinstance(made, list) and made else {}
            named = [first[key] for key in ("Name", "Version") if isinstance(first.get(key), str)]
            return f" by {' '.join(named)}" if named else ""
    return ""
