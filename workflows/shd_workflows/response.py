"""The graph that gives the response of each tissue."""

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import PreprocConfig, ResponseConfig
from shd_bids.interfaces.response import EstimateResponse, LoadResponse

_FIELDS = ["response_files", "method", "tissues_reason", "voxels_file", "voxel_counts"]


def init_response_wf(
    *,
    response: ResponseConfig,
    preproc: PreprocConfig,
    lmax: int,
    size_gb: float,
    name: str = "response_wf",
) -> LiterateWorkflow:
    """Build the estimation of the responses, or their reading from files.

    Parameters
    ----------
    response
        Settings of the stage.
    preproc
        For the grouping into shells.
    lmax
        Largest harmonic degree of the fibre orientations.
    size_gb
        Size of the series as 32-bit floats, in GB.
    name
        Name of the workflow.

    Inputs
    ------
    dwi_file, gradients_file, mask_file
        Preprocessed series.

    Outputs
    -------
    response_files
        MRtrix3 text by tissue.
    method, tissues_reason
        How they came about, and why these tissues, in a sentence each.
    voxels_file, voxel_counts
        Which voxels were averaged, and how many; only when estimated.
    """
    workflow = LiterateWorkflow(name=name)
    inputnode = Node(
        IdentityInterface(["dwi_file", "gradients_file", "mask_file"]), name="inputnode"
    )
    outputnode = Node(IdentityInterface(_FIELDS), name="outputnode")
    shells = {"b0_threshold": preproc.b0_threshold, "shell_tolerance": preproc.shell_tolerance}
    if response.files:
        workflow.__desc__ = (
            "\n\n### Fibre orientations\n\nResponse functions "
            f"of {', '.join(response.files)} were given. "
        )
        give_response = Node(
            LoadResponse(
                files={tissue: str(file) for tissue, file in response.files.items()}, **shells
            ),
            name="load_response",
        )
    else:
        workflow.__desc__ = (
            "\n\n### Fibre orientations\n\nResponse functions of the tissues were estimated from "
            "the data without supervision [@dhollander2016; @dhollander2019]. "
        )
        give_response = Node(
            EstimateResponse(lmax=max(lmax, 8), **shells),
            name="estimate_response",
            mem_gb=0.5 + 3 * size_gb,
        )
        workflow.connect(inputnode, "mask_file", give_response, "mask_file")
    workflow.connect([
        (inputnode, give_response, [
            ("dwi_file", "dwi_file"),
            ("gradients_file", "gradients_file"),
        ]),
        (give_response, outputnode, [(field, field) for field in _FIELDS]),
    ])  # fmt: skip
    return workflow
