"""The graphs that put results under their final names, each with its sidecar.

Only here, in `anat_derivatives` and in `tract_derivatives` are names of outputs decided. The names
of all files are known before anything runs, so that every sidecar can say what its file was made
from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids import __version__
from shd_bids.bids.columns import column_fields, columns_of
from shd_bids.bids.names import derivative_path
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.bids.sidecars import bids_uri, generic_sidecar
from shd_bids.config import TISSUES, PreprocConfig
from shd_bids.dwi.confounds import DESCRIPTIONS
from shd_bids.interfaces.derivatives import SaveDerivatives
from shd_bids.interfaces.judgement import WriteSliceQuality
from shd_bids.interfaces.model_quality import MeasureModel
from shd_bids.interfaces.sidecars import DescribeModel, DescribeResponse

from .own_fit import MAPS
from .own_plan import OwnPlan
from .plan import SeriesPlan
from .sources import Series, gradient_reading


@dataclass(frozen=True)
class Target:
    """Where the outputs of one series go and what they are called."""

    series: Series
    links: Mapping[str, Path]  # datasets that the series come from, by name
    output_dir: Path
    own: OwnPlan = field(default_factory=OwnPlan)  # what is taken from an earlier run
    response_given: bool = False  # by --response; the scan's own stays beside it

    def path(self, suffix: str, extension: str, **extra: str) -> str:
        """Give a path relative to the output dataset."""
        return derivative_path(
            self.series.entities, suffix=suffix, extension=extension, **extra
        ).as_posix()

    @property
    def dwi_path(self) -> str:
        """Path of the preprocessed series."""
        return self.path("dwi", ".nii.gz", space=self.series.space_label, desc="preproc")

    @property
    def mask_path(self) -> str:
        """Path of the brain mask."""
        return self.path("mask", ".nii.gz", space=self.series.space_label, desc="brain")

    def response_path(self, tissue: str) -> str:
        """Path of a response."""
        labels = {"param": "response", "label": tissue}
        labels |= {"desc": "given"} if self.response_given else {}
        return self.path("dwimap", ".txt", space=self.series.space_label, **labels)

    def model_path(self, model: str, param: str, extension: str = ".nii.gz", **extra: str) -> str:
        """Path of an image of one model."""
        return self.path(
            "dwimap",
            extension,
            space=self.series.space_label,
            model=model_label(model),
            param=param,
            **extra,
        )

    @property
    def source_uris(self) -> list[str]:
        """BIDS URIs of the input images."""
        return self.uris(self.series.source_files)

    def uris(self, files: Iterable[Path]) -> list[str]:
        """BIDS URIs of some files, of the input or of the output."""
        return [bids_uri(file, links=self.links, output_dir=self.output_dir) for file in files]

    @property
    def dwi_uris(self) -> list[str]:
        """BIDS URIs of what models are fitted to: our own series, or the input as it is."""
        if isinstance(self.series, PreprocessedSeries):
            return self.source_uris
        return own_uris(self.dwi_path)

    @property
    def gradient_fields(self) -> dict[str, str]:
        """How the gradients were read, for the sidecars of what rests on them."""
        return gradient_reading(self.series)

    @property
    def relinked(self) -> dict[str, str]:
        """BIDS URIs of what is taken from another dataset, by those that it would have here."""
        folder = self.own.dataset_dir
        if folder is None or folder.resolve() == self.output_dir.resolve():
            return {}
        taken = sorted(self.own.kept)
        return dict(zip(own_uris(*taken), self.uris(folder / path for path in taken), strict=True))

    def sink(self, name: str, paths: Mapping[str, str], sidecars: Any = None) -> Node:
        """Make the node that saves some files; it copies, so that a process of its own is waste."""
        node = Node(
            SaveDerivatives(
                paths={key: path for key, path in paths.items() if path not in self.own.kept},
                kept=[key for key, path in paths.items() if path in self.own.kept],
                relinked=self.relinked,
                output_dir=str(self.output_dir),
            ),
            name=name,
            mem_gb=0.1,
            run_without_submitting=True,
        )
        if sidecars is not None:
            node.inputs.sidecars = sidecars
        return node


def model_label(model: str) -> str:
    """Give a model's label in file names: letters and digits only."""
    return model.replace("-", "")


def own_uris(*paths: str) -> list[str]:
    """Give the BIDS URIs of files of the output dataset."""
    return [f"bids::{path}" for path in paths]


def init_preproc_derivatives_wf(
    *,
    target: Target,
    plan: SeriesPlan,
    preproc: PreprocConfig,
    methods: str,
    name: str = "preproc_derivatives_wf",
) -> LiterateWorkflow:
    """Save the preprocessed series; one that was preprocessed before is not written again.

    Parameters
    ----------
    target
        Where the outputs go.
    plan
        What is done with the series.
    preproc
        Settings of the stage.
    methods
        What was done, as a paragraph with citation keys, for a later run that goes on from here.
    name
        Name of the workflow.

    Inputs
    ------
    export_files
        Series and FSL gradients by kind.
    mask_file, b0_file, qc_file, confounds_file
        What preprocessing found.
    quality_fields
        What the columns of the first table mean, and the judgement.
    gradient_fields
        Verdict on the gradients.
    outliers_file
        Slices against their prediction; only with motion correction.
    fieldmap_file, displacement_file
        Field in Hz and its displacement in mm; only with distortion correction.
    """
    workflow = LiterateWorkflow(name=name)
    geometry = plan.geometry
    fields = ["mask_file", "qc_file", "confounds_file"]
    ours = [] if geometry is None else ["export_files", "b0_file"]
    field_maps = ["fieldmap_file", "displacement_file"]
    if geometry is None or geometry.sdc == "none":
        field_maps = []
    slices = ["outliers_file"] if geometry is not None and geometry.hmc != "none" else []
    found = ["quality_fields", "gradient_fields"]
    inputnode = Node(
        IdentityInterface([*ours, *fields, *field_maps, *slices, *found]), name="inputnode"
    )
    settings: dict[str, Any] = {
        "MaskMethod": preproc.mask_method,
        "B0Threshold": preproc.b0_threshold,
        "ShellTolerance": preproc.shell_tolerance,
    }
    if geometry is not None:
        settings |= {
            "DenoiseMethod": preproc.denoise_method,
            "UnringingMethod": "none" if plan.slice_axis is None else "subvoxel-shifts",
            "DistortionCorrection": geometry.sdc,
            "MotionCorrection": geometry.hmc,
            "BiasCorrection": preproc.bias_correction,
        }
    said: dict[str, Any] = {"version": __version__, "settings": settings}
    if ours:
        _save_series(workflow, inputnode, target, said, methods)
    if field_maps:
        _save_field(workflow, inputnode, target, plan, said)
    if slices:
        _save_slices(workflow, inputnode, target)
    ds_mask = target.sink(
        "ds_mask",
        {"mask": target.mask_path},
        {
            "mask": {"Type": "Brain"}
            | generic_sidecar(description="Brain mask.", sources=target.dwi_uris, **said)
        },
    )
    tables = [*target.dwi_uris, *own_uris(target.mask_path)]
    ds_qc = target.sink(
        "ds_qc",
        {"qc": target.path("qc", ".tsv", desc="image")},
        {
            "qc": generic_sidecar(
                description="Measures of the series; names as in QSIPrep where it has one.",
                sources=target.source_uris + tables,
                spatial_reference=None,
                **said,
            )
            | target.gradient_fields
        },
    )
    given = target.series.confounds_file if isinstance(target.series, PreprocessedSeries) else None
    ds_confounds = target.sink(
        "ds_confounds",
        {"confounds": target.path("timeseries", ".tsv", desc="confounds")},
        {
            "confounds": generic_sidecar(
                description="Measures of each volume: one row a volume.",
                sources=target.source_uris + tables if given is None else target.uris([given]),
                spatial_reference=None,
                **said,
            )
            | (column_fields(DESCRIPTIONS) if given is None else columns_of(given))
        },
    )
    workflow.connect([
        (inputnode, ds_mask, [(("mask_file", under, "mask"), "in_files")]),
        (inputnode, ds_qc, [
            (("qc_file", under, "qc"), "in_files"),
            ("quality_fields", "found"),
        ]),
        (inputnode, ds_confounds, [(("confounds_file", under, "confounds"), "in_files")]),
    ])  # fmt: skip
    return workflow


def _save_series(
    workflow: LiterateWorkflow,
    inputnode: Node,
    target: Target,
    said: dict[str, Any],
    methods: str,
) -> None:
    stem, _ = target.dwi_path.split(".", 1)
    ds_dwi = target.sink(
        "ds_dwi",
        {"dwi": target.dwi_path, "bval": f"{stem}.bval", "bvec": f"{stem}.bvec"},
        {
            "dwi": target.series.shared_metadata
            | {"SkullStripped": False, **target.gradient_fields}
            | generic_sidecar(
                description="Preprocessed diffusion series.",
                sources=target.source_uris,
                units="scanner units",
                **said,
            )
            | {"Methods": methods.strip()}
        },
    )
    ds_b0 = target.sink(
        "ds_b0",
        {"b0": target.path("dwiref", ".nii.gz", space=target.series.space_label)},
        {
            "b0": generic_sidecar(
                description="Mean of the preprocessed b=0 volumes.",
                sources=own_uris(target.dwi_path),
                units="scanner units",
                **said,
            )
        },
    )
    workflow.connect([
        (inputnode, ds_dwi, [
            ("export_files", "in_files"),
            (("gradient_fields", under, "GradientCheck"), "found"),
        ]),
        (inputnode, ds_b0, [(("b0_file", under, "b0"), "in_files")]),
    ])  # fmt: skip


def _save_slices(workflow: LiterateWorkflow, inputnode: Node, target: Target) -> None:
    write_slices = Node(
        WriteSliceQuality(sources=target.source_uris), name="write_slices", mem_gb=0.1
    )
    path = target.path("qc", ".json", space=target.series.space_label, desc="slice")
    ds_slices = target.sink("ds_slices", {"slices": path})
    workflow.connect([
        (inputnode, write_slices, [("outliers_file", "outliers_file")]),
        (write_slices, ds_slices, [(("out_file", under, "slices"), "in_files")]),
    ])  # fmt: skip


def _save_field(
    workflow: LiterateWorkflow,
    inputnode: Node,
    target: Target,
    plan: SeriesPlan,
    said: dict[str, Any],
) -> None:
    sources = target.source_uris + target.uris(
        Path(image.file) for image in (plan.geometry.reverse_images if plan.geometry else ())
    )
    meanings = {
        "fieldmap": ("Off-resonance by susceptibility.", "Hz", "preproc"),
        "displacement": (
            "Displacement by susceptibility of what the first b=0 volume shows, along the phase "
            "axis of the image.",
            "mm",
            "displacement",
        ),
    }
    for what, (description, units, label) in meanings.items():
        ds_map = target.sink(
            f"ds_{what}",
            {what: target.path("fieldmap", ".nii.gz", datatype="fmap", desc=label)},
            {what: generic_sidecar(description=description, sources=sources, units=units, **said)},
        )
        workflow.connect([(inputnode, ds_map, [((f"{what}_file", under, what), "in_files")])])


def init_response_derivatives_wf(
    *,
    target: Target,
    preproc: PreprocConfig,
    given_files: Mapping[str, Path],
    methods: str,
    name: str = "response_derivatives_wf",
) -> LiterateWorkflow:
    """Save the responses.

    Parameters
    ----------
    target
        Where the outputs go.
    preproc
        How shells are told apart.
    given_files
        Responses that are taken as they are, by tissue.
    methods
        As of `init_preproc_derivatives_wf`.
    name
        Name of the workflow.

    Inputs
    ------
    response_files, method, voxel_counts, gradients_file
        What the response stage gave, and what from.
    mask_file, export_files
        Files as they are saved.
    """
    workflow = LiterateWorkflow(name=name)
    fields = ["response_files", "method", "voxel_counts", "gradients_file"]
    inputnode = Node(IdentityInterface([*fields, "mask_file", "export_files"]), name="inputnode")
    describe_response = Node(
        DescribeResponse(
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
            sources=[*target.dwi_uris, *own_uris(target.mask_path)],
            given_uris={tissue: target.uris([file]) for tissue, file in given_files.items()},
            methods=methods.strip(),
        ),
        name="describe_response",
    )
    ds_response = target.sink(
        "ds_response", {tissue: target.response_path(tissue) for tissue in TISSUES}
    )
    workflow.connect([
        (inputnode, describe_response, [(field, field) for field in fields]),
        (inputnode, ds_response, [("response_files", "in_files")]),
        (describe_response, ds_response, [("sidecars", "sidecars")]),
    ])  # fmt: skip
    _tell_sources(workflow, describe_response, target)
    return workflow


def _tell_sources(workflow: LiterateWorkflow, describe: Node, target: Target) -> None:
    """Hand over the files that checksums are taken of, as they are saved."""
    inputnode, series = workflow.get_node("inputnode"), target.series
    if isinstance(series, PreprocessedSeries):
        describe.inputs.series_file = str(series.dwi_file)
    else:
        workflow.connect([(inputnode, describe, [(("export_files", _image), "series_file")])])
    if target.mask_path in target.own.kept and target.own.dataset_dir is not None:
        describe.inputs.mask_file = str(target.own.dataset_dir / target.mask_path)
    else:
        workflow.connect([(inputnode, describe, [("mask_file", "mask_file")])])


def init_model_derivatives_wf(
    *, target: Target, model: str, preproc: PreprocConfig, with_weights: bool,
    methods: str, name: str = "model_derivatives_wf",
) -> LiterateWorkflow:  # fmt: skip
    """Save the fibre orientations of one model, its maps, its measures and its weights.

    Inputs
    ------
    fod_files, fraction_files, map_files, weights_file, history_file, summary_file
        What the fit gave.
    response_files, gradients_file, mask_file
        What it was given.
    export_files
        The series as it is saved.
    """
    workflow = LiterateWorkflow(name=name)
    described = ["fod_files", "summary_file", "response_files", "gradients_file"]
    described += ["history_file"] if with_weights else []
    others = ["fraction_files", "map_files", "weights_file", "mask_file", "export_files"]
    others += [] if with_weights else ["history_file"]
    inputnode = Node(IdentityInterface([*described, *others]), name="inputnode")
    describe_model = Node(
        DescribeModel(
            model=model_label(model),
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
            sources=[*target.dwi_uris, *own_uris(target.mask_path)],
            response_uris={t: own_uris(target.response_path(t))[0] for t in TISSUES},
            fod_uris={t: own_uris(target.model_path(model, "fod", label=t))[0] for t in TISSUES},
            methods=methods.strip(),
        ),
        name="describe_model",
    )
    ds_fod = target.sink("ds_fod", {t: target.model_path(model, "fod", label=t) for t in TISSUES})
    ds_fod.inputs.found = target.gradient_fields
    ds_fractions = target.sink(
        "ds_fractions", {t: target.model_path(model, "fraction", label=t) for t in TISSUES}
    )
    ds_maps = target.sink("ds_maps", {p: target.model_path(model, p) for p in MAPS})
    workflow.connect([
        (inputnode, describe_model, [(field, field) for field in described]),
        (inputnode, ds_fod, [("fod_files", "in_files")]),
        (describe_model, ds_fod, [("fod_sidecars", "sidecars")]),
        (inputnode, ds_fractions, [("fraction_files", "in_files")]),
        (describe_model, ds_fractions, [("fraction_sidecars", "sidecars")]),
        (inputnode, ds_maps, [("map_files", "in_files")]),
        (describe_model, ds_maps, [("map_sidecars", "sidecars")]),
    ])  # fmt: skip
    _tell_sources(workflow, describe_model, target)
    _save_model_measures(workflow, inputnode, target, model)
    if with_weights:
        ds_weights = target.sink(
            "ds_weights",
            {
                "weights": target.path(
                    "model",
                    ".safetensors",
                    space=target.series.space_label,
                    model=model_label(model),
                    desc="weights",
                )
            },
        )
        workflow.connect([
            (inputnode, ds_weights, [(("weights_file", under, "weights"), "in_files")]),
            (describe_model, ds_weights, [("weights_sidecars", "sidecars")]),
        ])  # fmt: skip
    return workflow


def _image(files: dict) -> str:
    return files["dwi"]


def _save_model_measures(
    workflow: LiterateWorkflow, inputnode: Node, target: Target, model: str
) -> None:
    measure_model = Node(MeasureModel(), name="measure_model", mem_gb=0.5)
    space = target.series.space_label
    ds_model_qc = target.sink(
        "ds_model_qc",
        {"qc": target.path("qc", ".tsv", space=space, model=model_label(model), desc="model")},
        {
            "qc": generic_sidecar(
                description="Measures of one model of the series.",
                sources=own_uris(target.model_path(model, "fod", label="WM"), target.mask_path),
                version=__version__,
                spatial_reference=None,
            )
        },
    )
    measured = ["map_files", "fraction_files", "mask_file", "summary_file", "history_file"]
    workflow.connect([
        (inputnode, measure_model, [(field, field) for field in measured]),
        (measure_model, ds_model_qc, [
            (("qc_file", under, "qc"), "in_files"),
            ("quality_fields", "found"),
        ]),
    ])  # fmt: skip


def under(value: object, key: str) -> dict:
    """Put a file under the key that a sink knows it by."""
    return {key: value}
