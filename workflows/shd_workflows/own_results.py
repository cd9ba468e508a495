"""The graphs that hand on what an earlier run of shd-bids has left, instead of computing it.

Each has the outputs of the graph that it stands for; most have no step at all.
"""

from collections.abc import Sequence

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.own import OwnAnatomy, OwnModel, OwnResults
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.config import PreprocConfig
from shd_bids.interfaces.ingest import IngestPreprocessed
from shd_bids.interfaces.own import ReadFit
from shd_bids.reports.html import figure_path, series_figures

from .anat import ANAT_FIELDS
from .derivatives import Target
from .ingest import INGEST_FIELDS
from .plan import SeriesPlan
from .spaces import atlas_wf_name, describe_atlas

_FITTED = ("fod_files", "fraction_files", "map_files")
_TOLD = ("summary_file", "history_file")
_TRACTS = "Tractography"  # the section of the page that is made anew, or left out


def init_own_preproc_wf(
    *,
    series: PreprocessedSeries,
    own: OwnResults,
    preproc: PreprocConfig,
    needs_series: bool,
    size_gb: float,
    methods: str,
    name: str = "preproc_wf",
) -> LiterateWorkflow:
    """Hand on a series with its mask and b=0 image; its measures stay where they are.

    Parameters
    ----------
    series
        The preprocessed series.
    own
        What was made of it.
    preproc
        Its b=0 threshold is used.
    needs_series
        Whether anything is still computed from the diffusion images.
    size_gb
        Size of the series as 32-bit floats, in GB.
    methods
        How it was prepared, for the methods.
    name
        Name of the workflow.

    Outputs
    -------
    dwi_file, gradients_file, mask_file, b0_file
        As of `shd_workflows.ingest.init_ingest_wf`; the first two only where they are needed.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = methods
    outputnode = Node(IdentityInterface(list(INGEST_FIELDS)), name="outputnode")
    outputnode.inputs.mask_file = str(own.mask_file)
    if own.b0_file is not None:
        outputnode.inputs.b0_file = str(own.b0_file)
    if not needs_series:
        workflow.add_nodes([outputnode])
        return workflow
    ingest = Node(
        IngestPreprocessed(
            dwi_file=str(series.dwi_file),
            gradient_files=[str(file) for file in series.gradients.files],
            convention=series.gradients.convention,
            mask_file=str(own.mask_file),
            b0_threshold=preproc.b0_threshold,
        ),
        name="ingest",
        mem_gb=0.5 + 3 * size_gb,
    )
    fields = ["dwi_file", "gradients_file", *(["b0_file"] if own.b0_file is None else [])]
    workflow.connect([(ingest, outputnode, [(field, field) for field in fields])])
    return workflow


def init_own_anat_wf(anatomy: OwnAnatomy, name: str = "anat_wf") -> LiterateWorkflow:
    """Hand on tissues, the T1w image and transforms.

    Outputs
    -------
    t1w_file, mask_file, mask_dwi_file, tissue_dwi_file, <transform>_file
        As of `shd_workflows.anat.init_anat_wf`, as far as they are there.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = retell(anatomy.methods, "The tissues of the T1w image were known before.")
    outputnode = Node(IdentityInterface(list(ANAT_FIELDS)), name="outputnode")
    given = {
        "t1w_file": anatomy.t1w_file,
        "mask_file": anatomy.mask_file,
        "mask_dwi_file": anatomy.mask_dwi_file,
        "tissue_dwi_file": anatomy.tissue_dwi_file,
        **{f"{way}_file": file for way, file in anatomy.transforms.items()},
    }
    outputnode.inputs.trait_set(**{key: str(file) for key, file in given.items() if file})
    workflow.add_nodes([outputnode])
    return workflow


def init_own_atlas_wf(label: str, own: OwnResults) -> LiterateWorkflow:
    """Hand on one atlas.

    Outputs
    -------
    atlas_file, table_file
        As of `shd_workflows.spaces.init_atlas_wf`.
    """
    workflow = LiterateWorkflow(name=f"{atlas_wf_name(label)}_wf")
    workflow.__desc__ = describe_atlas(label)
    atlas_file, table_file, _ = own.atlases[label]
    outputnode = Node(IdentityInterface(["atlas_file", "table_file"]), name="outputnode")
    outputnode.inputs.trait_set(atlas_file=str(atlas_file), table_file=str(table_file))
    workflow.add_nodes([outputnode])
    return workflow


def init_own_response_wf(own: OwnResults, name: str = "response_wf") -> LiterateWorkflow:
    """Hand on the responses.

    Outputs
    -------
    response_files
        MRtrix3 text by tissue.
    """
    workflow = LiterateWorkflow(name=name)
    told = own.response_fields.get("WM", {}).get("Methods", "")
    workflow.__desc__ = retell(
        told, "### Fibre orientations\n\nResponse functions of the tissues were known before."
    )
    outputnode = Node(IdentityInterface(["response_files"]), name="outputnode")
    outputnode.inputs.response_files = {
        tissue: str(file) for tissue, file in own.response_files.items()
    }
    workflow.add_nodes([outputnode])
    return workflow


def init_own_fit_wf(found: OwnModel, *, pictured: bool, name: str) -> LiterateWorkflow:
    """Hand on the fibre orientations and maps of one model.

    Parameters
    ----------
    found
        Its files.
    pictured
        Whether it is pictured anew, beside a model that is fitted: then its sidecars are read.
    name
        Name of the workflow.

    Outputs
    -------
    fod_files, fraction_files, map_files, summary_file, history_file
        As of `shd_workflows.deconvolution.init_deconvolution_wf`; the last two if it is pictured.
    """
    workflow = LiterateWorkflow(name=name)
    model = found.fields.get("Model", {}).get("Description", "a model that is not told")
    workflow.__desc__ = retell(found.fields.get("Methods", ""), f"Fitted before was: {model}.")
    outputnode = Node(IdentityInterface([*_FITTED, *_TOLD]), name="outputnode")
    fod_files = {tissue: str(file) for tissue, file in found.fod_files.items()}
    outputnode.inputs.trait_set(
        fod_files=fod_files,
        fraction_files={tissue: str(file) for tissue, file in found.fraction_files.items()},
        map_files={param: str(file) for param, file in found.map_files.items()},
    )
    workflow.add_nodes([outputnode])
    if pictured:
        read_fit = Node(ReadFit(fod_files=fod_files), name="read_fit", mem_gb=0.1)
        if found.weights_file is not None:
            read_fit.inputs.weights_file = str(found.weights_file)
        workflow.connect([(read_fit, outputnode, [(field, field) for field in _TOLD])])
    return workflow


def add_own_figures(workflow: LiterateWorkflow, target: Target) -> None:
    """Copy the figures of what was taken over, so that the page is whole in another dataset.

    Parameters
    ----------
    workflow
        The graph of one series; figures that it makes itself are not copied.
    target
        Where its outputs go.
    """
    own = target.own.results
    if own is None or own.dataset_dir.resolve() == target.output_dir.resolve():
        return
    made = {
        path
        for node in workflow._get_all_nodes()
        if hasattr(node.inputs, "paths")
        for path in node.inputs.paths.values()
    }
    made_stems = {path.partition(".")[0] for path in made}
    taken = {}
    for what in series_figures(without=_TRACTS):
        if file := own.figures.get(what):
            path = figure_path(target.series.entities, what, file.suffix).as_posix()
            if path.partition(".")[0] not in made_stems:
                taken[what] = path, str(file)
    if taken:
        sink = target.sink("ds_own_figures", {what: path for what, (path, _) in taken.items()})
        sink.inputs.in_files = {what: file for what, (_, file) in taken.items()}
        workflow.add_nodes([sink])


def is_identity(node: Node) -> bool:
    """Tell whether a node only hands on what it is given."""
    return isinstance(node.interface, IdentityInterface)


def retell(told: object, instead: str) -> str:
    """Give the methods text that an earlier run left in a sidecar; what begins a section does.

    Examples
    --------
    >>> retell("By A. ", "By B."), retell(True, "By B.")  # what is no text does not count
    ('By A. ', 'By B. ')
    """
    text = (told if isinstance(told, str) and told else instead).strip()
    return f"\n\n{text} " if text.startswith("#") else f"{text} "


def own_figures(plans: Sequence[SeriesPlan]) -> list[str]:
    """List the figures of what was taken over, as paths in the output dataset."""
    return [
        figure_path(plan.series.entities, what, file.suffix).as_posix()
        for plan in plans
        if plan.own.results is not None
        for what in series_figures(without=_TRACTS)
        if (file := plan.own.results.figures.get(what))
    ]
