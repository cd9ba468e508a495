"""The graph that puts every volume where the head was: distortion, motion, eddy currents."""

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import PreprocConfig
from shd_bids.interfaces.distortion import EstimateField, PickB0
from shd_bids.interfaces.motion import CorrectMotion, ResampleDwi
from shd_bids.reports.versions import program_version

from .geometry_plan import GeometryPlan

FIELD_FIELDS = (
    "fieldmap_file",
    "displacement_file",
    "b0_files",
    "corrected_files",
    "b0_encodings",
    "field_mask_file",
)
MOTION_FIELDS = ("transforms_file", "outliers_file")

_METHODS = {
    "reverse-phase": (
        "The susceptibility field was estimated from b=0 images of opposite phase encoding, as the "
        "one that makes them agree once displacement and density are undone "
        "[@reversephase; @hysco]. "
    ),
    "topup": "The susceptibility field was estimated from b=0 images of opposite phase encoding by "
    "*topup* [@reversephase] of FSL {version}. ",
    "none": "Susceptibility distortion was not corrected{because}. ",
}
_MOTION = (
    "Head motion and linear eddy currents were estimated, on images without intensity "
    "non-uniformity [@n4], by registering every volume to what all others predict of it by a "
    "Gaussian process [@eddy], and each shell to the b=0 images by mutual information [@mattes]; "
    "slices with signal dropout were replaced by their prediction [@repol]. Gradient directions "
    "were turned with the head. "
)


def init_geometry_wf(
    *,
    plan: GeometryPlan,
    preproc: PreprocConfig,
    slice_axis: int | None,
    size_gb: float,
    growth: float,
    n_threads: int,
    name: str = "geometry_wf",
) -> LiterateWorkflow:
    """Build the correction of distortion, head motion and eddy currents.

    Parameters
    ----------
    plan
        What to correct, and with which images.
    preproc
        Settings of the stage.
    slice_axis
        Image axis across the slices, to unring the images of opposite phase encoding as the series
        was; None leaves their ringing.
    size_gb
        Size of the series as acquired, as 32-bit floats, in GB.
    growth
        Voxels of the output for each one acquired.
    n_threads
        Threads of one step.
    name
        Name of the workflow.

    Inputs
    ------
    dwi_file, gradients_file
        Series, not interpolated yet, and its MRtrix3 table.
    mask_file
        Brain in it.

    Outputs
    -------
    dwi_file, gradients_file
        Corrected series and its table, turned with the head.
    fieldmap_file, displacement_file, b0_files, corrected_files, b0_encodings, field_mask_file
        Field in Hz, displacement in mm, and the images that it was estimated from; only with `sdc`.
    transforms_file, outliers_file
        Positions of the head and dropped slices; only with `hmc`.
    field_measures
        Of the distortion, by name.
    field_found, motion_found
        What was found, in words.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = _describe(plan, preproc.output_resolution)
    inputnode = Node(
        IdentityInterface(["dwi_file", "gradients_file", "mask_file"]), name="inputnode"
    )
    outputnode = Node(
        IdentityInterface(
            [
                "dwi_file",
                "gradients_file",
                *FIELD_FIELDS,
                *MOTION_FIELDS,
                "field_measures",
                "field_found",
                "motion_found",
            ]
        ),
        name="outputnode",
    )
    resample_dwi = Node(
        ResampleDwi(phase_encodings=list(plan.encodings)),
        name="resample_dwi",
        mem_gb=0.7 + (1 + growth) * size_gb,
    )
    if preproc.output_resolution is not None:
        resample_dwi.inputs.output_resolution = preproc.output_resolution
    workflow.connect([
        (inputnode, resample_dwi, [("gradients_file", "gradients_file")]),
        (resample_dwi, outputnode, [
            ("dwi_file", "dwi_file"),
            ("gradients_file", "gradients_file"),
        ]),
    ])  # fmt: skip

    field_giver, mask_giver = None, (inputnode, "mask_file")
    if plan.sdc != "none":
        field_giver = _connect_field(
            workflow, plan, preproc, slice_axis, inputnode, outputnode, size_gb
        )
        mask_giver = (field_giver, "mask_file")
        workflow.connect([(field_giver, resample_dwi, [("fieldmap_file", "fieldmap_file")])])
    if plan.hmc == "none":
        workflow.connect([(inputnode, resample_dwi, [("dwi_file", "dwi_file")])])
        return workflow
    correct_motion = Node(
        CorrectMotion(
            phase_encodings=list(plan.encodings),
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
            n_threads=n_threads,
        ),
        name="correct_motion",
        n_procs=n_threads,
        mem_gb=0.5 + 7 * size_gb,
    )
    giver, mask_field = mask_giver
    workflow.connect([
        (inputnode, correct_motion, [
            ("dwi_file", "dwi_file"),
            ("gradients_file", "gradients_file"),
        ]),
        (giver, correct_motion, [(mask_field, "mask_file")]),
        (correct_motion, resample_dwi, [
            ("dwi_file", "dwi_file"),
            ("transforms_file", "transforms_file"),
        ]),
        (correct_motion, outputnode, [
            ("transforms_file", "transforms_file"),
            ("outliers_file", "outliers_file"),
            ("found", "motion_found"),
        ]),
    ])  # fmt: skip
    if field_giver is not None:
        workflow.connect([(field_giver, correct_motion, [("fieldmap_file", "fieldmap_file")])])
    return workflow


def _connect_field(
    workflow: LiterateWorkflow,
    plan: GeometryPlan,
    preproc: PreprocConfig,
    slice_axis: int | None,
    inputnode: Node,
    outputnode: Node,
    size_gb: float,
) -> Node:
    """Add the estimate of the field and give its node."""
    pick_b0 = Node(
        PickB0(
            b0_threshold=preproc.b0_threshold,
            phase_encodings=list(plan.encodings),
            reverse_files=[image.file for image in plan.reverse_images],
            reverse_bval_files=[image.bval_file for image in plan.reverse_images],
            reverse_encodings=[image.encoding for image in plan.reverse_images],
        ),
        name="pick_b0",
        mem_gb=0.5 + size_gb,
    )
    if slice_axis is not None:
        pick_b0.inputs.slice_axis = slice_axis
    estimate_field = Node(EstimateField(method=plan.sdc), name="estimate_field", mem_gb=2.0)
    workflow.connect([
        (inputnode, pick_b0, [("dwi_file", "dwi_file"), ("gradients_file", "gradients_file")]),
        (pick_b0, estimate_field, [
            ("b0_files", "b0_files"),
            ("b0_encodings", "phase_encodings"),
        ]),
        (pick_b0, outputnode, [("b0_files", "b0_files")]),
        (estimate_field, outputnode, [
            ("fieldmap_file", "fieldmap_file"),
            ("displacement_file", "displacement_file"),
            ("corrected_files", "corrected_files"),
            ("phase_encodings", "b0_encodings"),
            ("mask_file", "field_mask_file"),
            ("measures", "field_measures"),
            ("found", "field_found"),
        ]),
    ])  # fmt: skip
    return estimate_field


def _describe(plan: GeometryPlan, resolution_mm: float | None) -> str:
    moved, distorted = plan.hmc != "none", plan.sdc != "none"
    because = f", because {plan.reason}" if plan.reason and plan.reason[0] != "-" else ""
    field = _METHODS[plan.sdc].replace("{because}", because)
    if plan.sdc == "topup":
        field = field.format(version=program_version("FSL"))
    undone = {
        (True, True): "Distortion, head motion and eddy currents were undone together",
        (True, False): "Head motion and eddy currents were undone",
        (False, True): "Distortion was undone",
        (False, False): "The series was resampled",
    }[moved, distorted]
    voxels = "" if resolution_mm is None else f", to isotropic voxels of {resolution_mm:g} mm"
    return (
        field
        + (_MOTION if moved else "Head motion and eddy currents were not corrected. ")
        + f"{undone} in one interpolation by cubic splines{voxels}. "
    )
