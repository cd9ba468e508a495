"""The graph that takes over the anatomy of a series that another pipeline has preprocessed."""

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.interfaces.anat import CompareMasks
from shd_bids.interfaces.anat_figures import PlotAnatomy
from shd_bids.interfaces.given_anatomy import TakeOverTissue

_TAKEN_OVER = (
    "The tissue map that came with the preprocessed series was brought onto the grid of the "
    "diffusion images; nothing was registered. "
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
    mask_dwi_file, tissue_dwi_file, mask_method, t1_dice_distance, figures
        As of `shd_workflows.anat.init_anat_wf`. Figures show the T1w image if there is one.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = _TAKEN_OVER
    inputnode = Node(IdentityInterface(["b0_file", "dwi_mask_file"]), name="inputnode")
    outputnode = Node(
        IdentityInterface(
            ["mask_dwi_file", "tissue_dwi_file", "mask_method", "t1_dice_distance", "figures"]
        ),
        name="outputnode",
    )
    outputnode.inputs.mask_method = "input"
    plot_anatomy = Node(
        PlotAnatomy(mask_method="input"), name="plot_anatomy", mem_gb=0.5 + 12 * size_gb
    )
    compare_masks = Node(CompareMasks(), name="compare_masks")
    tissue_to_dwi = _tissue_node("tissue_to_dwi", anatomy, size_gb)
    workflow.connect([
        (inputnode, tissue_to_dwi, [("b0_file", "reference_file")]),
        (inputnode, compare_masks, [("dwi_mask_file", "other_file")]),
        (tissue_to_dwi, compare_masks, [("mask_file", "mask_file")]),
        (inputnode, plot_anatomy, [("b0_file", "b0_file")]),
        (compare_masks, outputnode, [("dice_distance", "t1_dice_distance")]),
        (plot_anatomy, outputnode, [("out_files", "figures")]),
    ])  # fmt: skip
    for node in (plot_anatomy, outputnode):
        workflow.connect([
            (tissue_to_dwi, node, [
                ("mask_file", "mask_dwi_file"),
                ("tissue_file", "tissue_dwi_file"),
            ]),
        ])  # fmt: skip
    if anatomy.t1w_file is not None:
        tissue_to_t1w = _tissue_node("tissue_to_t1w", anatomy, size_gb)
        tissue_to_t1w.inputs.reference_file = str(anatomy.t1w_file)
        plot_anatomy.inputs.t1w_file = str(anatomy.t1w_file)
        workflow.connect([
            (tissue_to_t1w, plot_anatomy, [
                ("mask_file", "mask_file"),
                ("tissue_file", "tissue_file"),
            ]),
        ])  # fmt: skip
    return workflow


def _tissue_node(name: str, anatomy: PreprocessedAnatomy, size_gb: float) -> Node:
    mask = {} if anatomy.mask_file is None else {"mask_file": str(anatomy.mask_file)}
    return Node(
        TakeOverTissue(
            tissue_files=[str(file) for file in anatomy.tissue_files],
            labels=anatomy.dseg_labels,
            **mask,
        ),
        name=name,
        mem_gb=0.5 + 12 * size_gb,
    )
