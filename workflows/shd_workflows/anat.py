"""The graph of the structural image: brain, tissues, and where they lie in the series."""

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.anat.template import Template
from shd_bids.interfaces.anat import (
    CompareMasks,
    PrepareT1w,
    RegisterToDwi,
    RegisterToTemplate,
    ResampleImage,
    SegmentTissue,
    SkullStrip,
)
from shd_bids.interfaces.anat_figures import PlotAnatomy

ANAT_FIELDS = (
    "t1w_file",
    "mask_file",
    "mask_method",
    "tissue_file",
    "t1w_to_dwi_file",
    "dwi_to_t1w_file",
    "t1w_to_template_file",
    "template_to_t1w_file",
    "mask_dwi_file",
    "tissue_dwi_file",
    "t1_dice_distance",
    "figures",
)

_ALWAYS = (
    "The T1-weighted image was corrected for intensity non-uniformity with N4 [@n4; @simpleitk] "
    "and rigidly registered to the b=0 image by mutual information [@mattes]. "
)
_TEMPLATE = (
    "Its brain, where it came with the skull, was found through the template {name}; it was "
    "registered to that template by an affine transform and symmetric diffeomorphic registration "
    "[@syn; @dipy]. "
)
_NO_TEMPLATE = (
    "As there was no template, its brain mask, where it came with the skull, was taken over from "
    "the diffusion series. "
)
_TISSUE = (
    "White matter, grey matter and fluid were segmented with a hidden Markov random field "
    "[@hmrf; @dipy] and brought into the space of the diffusion images. "
)


def init_anat_wf(
    *,
    template: Template | None,
    size_gb: float,
    n_threads: int,
    name: str = "anat_wf",
) -> LiterateWorkflow:
    """Build the structural part of one series.

    Parameters
    ----------
    template
        As `shd_bids.anat.template.find_template` gives it; None goes on without: the brain mask is
        then that of the series, and nothing is brought to a template.
    size_gb
        Size of the T1w image as 32-bit floats, in GB.
    n_threads
        Threads of one step.
    name
        Name of the workflow.

    Inputs
    ------
    t1w_file
        As acquired, with or without skull.
    b0_file, dwi_mask_file
        Mean of the b=0 volumes and brain mask of the preprocessed series.

    Outputs
    -------
    t1w_file, mask_file, tissue_file
        T1w image without bias, its brain mask, probabilities of white matter, grey matter and
        fluid.
    mask_method
        ``given``, ``template`` or ``dwi`` (poor).
    t1w_to_dwi_file, dwi_to_t1w_file
        Rigid transforms, ITK text.
    t1w_to_template_file, template_to_t1w_file
        ITK composites; only with a template.
    mask_dwi_file, tissue_dwi_file
        Brought onto the grid of the series.
    t1_dice_distance
        Between the T1w mask, there, and that of the series.
    figures
        Pictures by what they show.
    """
    workflow = LiterateWorkflow(name=name)
    mask_text = _TEMPLATE.format(name=template.name) if template else _NO_TEMPLATE
    workflow.__desc__ = _ALWAYS + mask_text + _TISSUE
    inputnode = Node(IdentityInterface(["t1w_file", "b0_file", "dwi_mask_file"]), name="inputnode")
    outputnode = Node(IdentityInterface(list(ANAT_FIELDS)), name="outputnode")
    threads = {"n_procs": n_threads}
    given = {} if template is None else {"template_file": str(template.t1w_file)}
    if template is not None and template.mask_file is not None:
        given["template_mask_file"] = str(template.mask_file)
    prepare_t1w = Node(
        PrepareT1w(n_threads=n_threads), name="prepare_t1w", mem_gb=0.5 + 8 * size_gb, **threads
    )
    register_to_dwi = Node(
        RegisterToDwi(n_threads=n_threads),
        name="register_to_dwi",
        mem_gb=0.5 + 6 * size_gb,
        **threads,
    )
    skull_strip = Node(
        SkullStrip(n_threads=n_threads, **given),
        name="skull_strip",
        mem_gb=1.0 + 12 * size_gb,
        **threads,
    )
    segment_tissue = Node(SegmentTissue(), name="segment_tissue", mem_gb=0.5 + 60 * size_gb)
    mask_to_dwi = Node(ResampleImage(kind="label"), name="mask_to_dwi", mem_gb=0.3 + 5 * size_gb)
    tissue_to_dwi = Node(ResampleImage(), name="tissue_to_dwi", mem_gb=0.3 + 8 * size_gb)
    compare_masks = Node(CompareMasks(), name="compare_masks")
    plot_anatomy = Node(PlotAnatomy(), name="plot_anatomy", mem_gb=0.5 + 12 * size_gb)

    workflow.connect([
        (inputnode, prepare_t1w, [("t1w_file", "t1w_file")]),
        (prepare_t1w, register_to_dwi, [("t1w_file", "t1w_file")]),
        (inputnode, register_to_dwi, [
            ("b0_file", "b0_file"),
            ("dwi_mask_file", "dwi_mask_file"),
        ]),
        (prepare_t1w, skull_strip, [("t1w_file", "t1w_file")]),
        (prepare_t1w, segment_tissue, [("t1w_file", "t1w_file")]),
        (skull_strip, segment_tissue, [("mask_file", "mask_file")]),
        (prepare_t1w, outputnode, [("t1w_file", "t1w_file")]),
        (skull_strip, outputnode, [("mask_file", "mask_file"), ("method", "mask_method")]),
        (segment_tissue, outputnode, [("tissue_file", "tissue_file")]),
        (register_to_dwi, outputnode, [
            ("t1w_to_dwi_file", "t1w_to_dwi_file"),
            ("dwi_to_t1w_file", "dwi_to_t1w_file"),
        ]),
    ])  # fmt: skip
    if template is None:
        workflow.connect([
            (inputnode, skull_strip, [("dwi_mask_file", "dwi_mask_file")]),
            (register_to_dwi, skull_strip, [("t1w_to_dwi_file", "t1w_to_dwi_file")]),
        ])  # fmt: skip
    else:
        register_to_template = Node(
            RegisterToTemplate(n_threads=n_threads, **given),
            name="register_to_template",
            mem_gb=1.0 + 12 * size_gb,
            **threads,
        )
        workflow.connect([
            (prepare_t1w, register_to_template, [("t1w_file", "t1w_file")]),
            (skull_strip, register_to_template, [("mask_file", "mask_file")]),
            (register_to_template, outputnode, [
                ("t1w_to_template_file", "t1w_to_template_file"),
                ("template_to_t1w_file", "template_to_t1w_file"),
            ]),
        ])  # fmt: skip

    for source, field, node in (
        (skull_strip, "mask_file", mask_to_dwi),
        (segment_tissue, "tissue_file", tissue_to_dwi),
    ):
        workflow.connect([
            (source, node, [(field, "in_file")]),
            (inputnode, node, [("b0_file", "reference_file")]),
            (register_to_dwi, node, [("t1w_to_dwi_file", "transform_files")]),
        ])  # fmt: skip
    workflow.connect([
        (mask_to_dwi, compare_masks, [("out_file", "mask_file")]),
        (inputnode, compare_masks, [("dwi_mask_file", "other_file")]),
        (mask_to_dwi, outputnode, [("out_file", "mask_dwi_file")]),
        (tissue_to_dwi, outputnode, [("out_file", "tissue_dwi_file")]),
        (compare_masks, outputnode, [("dice_distance", "t1_dice_distance")]),
        (prepare_t1w, plot_anatomy, [("t1w_file", "t1w_file")]),
        (skull_strip, plot_anatomy, [("mask_file", "mask_file"), ("method", "mask_method")]),
        (segment_tissue, plot_anatomy, [("tissue_file", "tissue_file")]),
        (inputnode, plot_anatomy, [("b0_file", "b0_file")]),
        (mask_to_dwi, plot_anatomy, [("out_file", "mask_dwi_file")]),
        (tissue_to_dwi, plot_anatomy, [("out_file", "tissue_dwi_file")]),
        (plot_anatomy, outputnode, [("out_files", "figures")]),
    ])  # fmt: skip
    return workflow
