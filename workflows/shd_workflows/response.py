"""The graph that gives the response of each tissue."""

from collections.abc import Sequence

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import TISSUES, PreprocConfig, ResponseConfig
from shd_bids.interfaces.response import EstimateResponse, LoadResponse
from shd_bids.reports.methods import join_words
from shd_bids.response.io import is_average

_FIELDS = ["response_files", "method", "tissues_reason", "voxels_file", "voxel_counts"]

_HEADING = "\n\n### Fibre orientations\n\n"
_NAMES = {"WM": "white matter", "GM": "grey matter", "CSF": "cerebrospinal fluid"}


def is_matched(response: ResponseConfig) -> bool:
    """Tell whether given responses are brought to the brightness of the scan."""
    return response.intensity == "matched" or (
        response.intensity == "auto" and all(map(is_average, response.files.values()))
    )


def init_response_wf(
    *,
    response: ResponseConfig,
    preproc: PreprocConfig,
    lmax: int,
    size_gb: float,
    tissues: Sequence[str] = TISSUES,
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
    tissues
        That are estimated, for the methods.
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
        workflow.__desc__ = _HEADING + _describe_given(response)
        matched = is_matched(response)
        give_response = Node(
            LoadResponse(
                files={tissue: str(file) for tissue, file in response.files.items()},
                match_intensity=matched,
                **shells,
            ),
            name="load_response",
            mem_gb=0.5 + 3 * size_gb if matched else 0.2,
        )
        if matched:
            workflow.__desc__ += (
                "They were brought to the intensity of each scan by one factor, the geometric mean "
                "over tissues and shells of what the scan's own responses are beside them. "
            )
            workflow.connect(inputnode, "mask_file", give_response, "mask_file")
    else:
        workflow.__desc__ = _HEADING + _describe_estimate(tissues)
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


def response_tissues(response: ResponseConfig, shell_bvals: Sequence[float]) -> tuple[str, ...]:
    """List the tissues that have a response: those given, or those that the shells tell apart."""
    if response.files:
        return tuple(response.files)
    return TISSUES if len(shell_bvals) >= 3 else ("WM", "CSF")


def _describe_given(response: ResponseConfig) -> str:
    given = [f"{_NAMES[tissue]} ({file.name})" for tissue, file in response.files.items()]
    return (
        "The response functions were not estimated from these data but given: "
        f"{join_words(given)}. "
    )


def _describe_estimate(tissues: Sequence[str]) -> str:
    named = join_words([_NAMES[tissue] for tissue in tissues])
    left_out = (
        ""
        if "GM" in tissues
        else "Grey matter was left out, because one shell beside b=0 does not tell it apart. "
    )
    return (
        f"Response functions of {named} were estimated from the data, in voxels chosen without "
        "supervision in the manner of @dhollander2016 and @dhollander2019; that of white matter by "
        f"constrained zonal least squares about the tensor's direction [@amp2response]. {left_out}"
    )
