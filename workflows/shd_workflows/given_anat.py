"""The graph that takes over the anatomy of a series that another pipeline has preprocessed."""

from importlib.resources import files

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.interfaces.anat import CompareMasks
from shd_bids.interfaces.anat_figures import PlotAnatomy
from shd_bids.interfaces.given_anatomy import TakeOverTissue

from .anat import ANAT_FIELDS

_TAKEN_OVER = (
    "Its tissue map was taken over and brought onto the grid of the diffusion images; nothing was "
    "registered. "
)


def init_given_anat_wf(
    *, anatomy: PreprocessedAnatomy, size_gb: float, name: str = "anat_wf"
) -> LiterateWorkflow:
    """Build the structural part of a preprocessed series that came with tissues.

    Parameters
    ----------
    anatomy
        What was found, with tissues, in the space of the series.
    size_gb
        Size of one volume of the tissues as 32-bit floats, in GB.
    name
        Name of the workflow.

    Inputs
    ------
    b0_file, dwi_mask_file
        Mean of the b=0 volumes and brain mask of the series.

    Outputs
    -------
    t1w_file, mask_file, mask_method, tissue_file, t1w_to_dwi_file, dwi_to_t1w_file,
    t1w_to_template_file, template_to_t1w_file, mask_dwi_file, tissue_dwi_file, t1_dice_distance,
    figures
        As of `shd_workflows.anat.init_anat_wf`. The series lies in the T1w image's space, so the
        transforms between the two change nothing. Those to a template and the T1w image are there
        only if they came with the series.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = _TAKEN_OVER
    inputnode = Node(IdentityInterface(["b0_file", "dwi_mask_file"]), name="inputnode")
    outputnode = Node(IdentityInterface(list(ANAT_FIELDS)), name="outputnode")
    identity = str(files("shd_bids.data") / "identity_xfm.txt")
    outputnode.inputs.trait_set(
        mask_method="given", t1w_to_dwi_file=identity, dwi_to_t1w_file=identity
    )
    plot_anatomy = Node(
        PlotAnatomy(mask_method="given"), name="plot_anatomy", mem_gb=0.5 + 12 * size_gb
    )
    for field, file, node in (
        ("t1w_to_template_file", anatomy.to_template_file, outputnode),
        ("template_to_t1w_file", anatomy.from_template_file, outputnode),
        ("t1w_file", anatomy.t1w_file, outputnode),
        ("t1w_file", anatomy.t1w_file, plot_anatomy),
    ):
        if file is not None:
            node.inputs.trait_set(**{field: str(file)})
    compare_masks = Node(CompareMasks(), name="compare_masks")
    in_t1w, in_dwi = (
        Node(
            TakeOverTissue(
                tissue_files=[str(file) for file in anatomy.tissue_files],
                labels=anatomy.dseg_labels,
            ),
            name=f"tissue_to_{where}",
            mem_gb=0.5 + 12 * size_gb,
        )
        for where in ("t1w", "dwi")
    )
    in_t1w.inputs.reference_file = str(anatomy.t1w_file or anatomy.tissue_files[0])
    if anatomy.mask_file is not None:
        for node in (in_t1w, in_dwi):
            node.inputs.mask_file = str(anatomy.mask_file)
    workflow.connect([
        (inputnode, in_dwi, [("b0_file", "reference_file")]),
        (inputnode, compare_masks, [("dwi_mask_file", "other_file")]),
        (in_dwi, compare_masks, [("mask_file", "mask_file")]),
        (inputnode, plot_anatomy, [("b0_file", "b0_file")]),
    ])  # fmt: skip
    for node, place in ((in_t1w, ""), (in_dwi, "_dwi")):
        named = [(field, f"{field.removesuffix('_file')}{place}_file")
                 for field in ("mask_file", "tissue_file")]  # fmt: skip
        workflow.connect([(node, outputnode, named), (node, plot_anatomy, named)])
    workflow.connect([
        (compare_masks, outputnode, [("dice_distance", "t1_dice_distance")]),
        (plot_anatomy, outputnode, [("out_files", "figures")]),
    ])  # fmt: skip
    return workflow
