"""The graph that follows fibre orientations."""

from nipype import Node
from nipype.interfaces.utility import IdentityInterface
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.config import TrackingConfig
from shd_bids.interfaces.tractography import TrackStreamlines


def init_tractography_wf(
    *,
    tracking: TrackingConfig,
    random_seed: int,
    coefficients_gb: float,
    n_threads: int,
    name: str = "tractography_wf",
) -> LiterateWorkflow:
    """Build the tracking of one model.

    Parameters
    ----------
    tracking
        Settings of the stage.
    random_seed
        Seed of seeds and directions.
    coefficients_gb
        Size of the harmonics as 32-bit floats, in GB.
    n_threads
        Threads of one step.
    name
        Name of the workflow.

    Inputs
    ------
    fod_files, fraction_files
        Harmonics and volume fraction, by tissue.
    mask_file
        Brain mask.

    Outputs
    -------
    track_files
        Tractogram (TCK) and density map, by kind.
    n_streamlines
        Number of streamlines.
    step_mm
        Length of a step.
    """
    workflow = LiterateWorkflow(name=name)
    workflow.__desc__ = (
        "\n\n### Tractography\n\n"
        f"{tracking.n_streamlines} streamlines were tracked probabilistically with DIPY [@dipy], "
        "from seeds in white matter, stopping by the tissue fractions of the deconvolution "
        f"(at most {tracking.max_angle_deg:g}° a step). "
    )
    inputnode = Node(
        IdentityInterface(["fod_files", "fraction_files", "mask_file"]), name="inputnode"
    )
    outputnode = Node(
        IdentityInterface(["track_files", "n_streamlines", "step_mm"]), name="outputnode"
    )
    track_streamlines = Node(
        TrackStreamlines(
            n_streamlines=tracking.n_streamlines,
            max_angle_deg=tracking.max_angle_deg,
            random_seed=random_seed,
            n_threads=n_threads,
        ),
        name="track_streamlines",
        n_procs=n_threads,
        mem_gb=1.0 + 12 * coefficients_gb,
    )
    if tracking.step_mm is not None:
        track_streamlines.inputs.step_mm = tracking.step_mm
    workflow.connect([
        (inputnode, track_streamlines, [
            ("fod_files", "fod_files"),
            ("fraction_files", "fraction_files"),
            ("mask_file", "mask_file"),
        ]),
        (track_streamlines, outputnode, [
            ("track_files", "track_files"),
            ("n_streamlines", "n_streamlines"),
            ("step_mm", "step_mm"),
        ]),
    ])  # fmt: skip
    return workflow
