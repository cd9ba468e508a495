"""The graph of a study: the average response of its scans, and one network for all of them."""

from collections.abc import Sequence

from nipype import Node
from niworkflows.engine.workflows import LiterateWorkflow

from shd_bids.bids.sidecars import bids_uri
from shd_bids.config import LEVELS, SHD_MODELS, TISSUES, RunConfig
from shd_bids.interfaces.derivatives import SaveDerivatives
from shd_bids.interfaces.group import AverageResponses, DescribeNetwork, TrainStudy, WriteTables

from .derivatives import model_label, own_uris, under
from .group_scans import StudyKind
from .memory import fit_gb
from .model_texts import describe_study
from .sources import dataset_links


def group_wf_name(kind: StudyKind) -> str:
    """Give the name of the graph of one kind of scans."""
    words = "_".join(kind.folder.replace("-", "_").replace("+", "_").split("/"))
    return f"{words}_wf"


def network_model(config: RunConfig) -> str | None:
    """Give the model whose network is trained for the study; None if there is to be none."""
    if LEVELS.index(config.execution.level) < LEVELS.index("fod"):
        return None
    if not config.deconv.fod_models:
        return "shd-tv"
    return next((model for model in config.deconv.fod_models if model in SHD_MODELS), None)


def response_path(kind: StudyKind, tissue: str) -> str:
    """Give the path of an average response, relative to the output dataset."""
    return f"{kind.folder}/group_param-response_label-{tissue}_dwimap.txt"


def response_table_path(kind: StudyKind) -> str:
    """Give the path of the table of all responses, relative to the output dataset."""
    return f"{kind.folder}/group_desc-response_qc.tsv"


def network_path(kind: StudyKind, model: str, extension: str = ".safetensors") -> str:
    """Give the path of a study's network, relative to the output dataset."""
    return f"{kind.folder}/group_model-{model_label(model)}_desc-weights_model{extension}"


def init_group_wf(*, kind: StudyKind, config: RunConfig, gpus: Sequence[str]) -> LiterateWorkflow:
    """Build what is made of all scans of one kind.

    Parameters
    ----------
    kind
        The scans.
    config
        Settings of the run, resources resolved.
    gpus
        Ids of the cards to train on.

    Inputs
    ------
    None
        The files are known when the graph is built.

    Outputs
    -------
    None
        All results end in sinks.
    """
    workflow = LiterateWorkflow(name=group_wf_name(kind))
    workflow.__desc__ = (
        f"Responses of {len(kind.scans)} scans ({kind.name}) were averaged after their intensities "
        "had been matched, as in *MRtrix3*'s `responsemean` [@mrtrix3]. "
    )
    links = dataset_links(config)
    output_dir = config.execution.output_dir
    sources = [
        bids_uri(scan.responses["WM"], links=links, output_dir=output_dir) for scan in kind.scans
    ]
    average_responses = Node(
        AverageResponses(
            response_files=[
                {tissue: str(file) for tissue, file in scan.responses.items()}
                for scan in kind.scans
            ],
            names=[scan.name for scan in kind.scans],
            shell_bvals=list(kind.shell_bvals),
            sources=sources,
        ),
        name="average_responses",
        mem_gb=0.3,
    )
    ds_responses = _sink(
        config, "ds_responses", {tissue: response_path(kind, tissue) for tissue in TISSUES}
    )
    ds_table = _sink(config, "ds_table", {"table": response_table_path(kind)})
    workflow.connect([
        (average_responses, ds_responses, [
            ("response_files", "in_files"),
            ("sidecars", "sidecars"),
        ]),
        (average_responses, ds_table, [
            (("table_file", under, "table"), "in_files"),
            (("table_sidecar", under, "table"), "sidecars"),
        ]),
    ])  # fmt: skip
    model = network_model(config)
    if model is not None:
        _add_network(workflow, kind, model, config, gpus)
    return workflow


def _add_network(
    workflow: LiterateWorkflow,
    kind: StudyKind,
    model: str,
    config: RunConfig,
    gpus: Sequence[str],
) -> None:
    """Train one network on all scans, with their average response."""
    deconv, preproc, resources = config.deconv, config.preproc, config.resources
    workflow.__desc__ += describe_study(model, deconv, n_scan=len(kind.scans))
    links, output_dir = dataset_links(config), config.execution.output_dir
    write_tables = Node(
        WriteTables(
            dwi_files=[str(scan.dwi_file) for scan in kind.scans],
            gradient_files=[[str(file) for file in scan.gradients.files] for scan in kind.scans],
            conventions=[scan.gradients.convention for scan in kind.scans],
        ),
        name="write_tables",
        mem_gb=0.3,
    )
    n_threads = resources.omp_nthreads or 1
    train_study = Node(
        TrainStudy(
            dwi_files=[str(scan.dwi_file) for scan in kind.scans],
            mask_files=[str(scan.mask_file) for scan in kind.scans],
            model=model,
            lmax=deconv.lmax,
            preset=deconv.shd_preset,
            b0_threshold=preproc.b0_threshold,
            shell_tolerance=preproc.shell_tolerance,
            random_seed=deconv.random_seed,
            precision=deconv.precision,
            device=deconv.device,
            gpus=list(gpus),
            n_threads=n_threads,
            checkpoint_dir=str(config.execution.work_dir / "checkpoints" / kind.folder),
        ),
        name="train_study",
        n_procs=resources.nprocs or 1,  # scans are read while the network is trained
        mem_gb=fit_gb(
            model,
            deconv,
            n_voxel=0,  # it is trained, and not applied to whole scans
            size_gb=max(scan.size_gb for scan in kind.scans),
            coefficients_gb=0.0,
            n_threads=n_threads,
        ),
    )
    if deconv.shd_steps is not None:
        train_study.inputs.n_step = deconv.shd_steps
    if deconv.tv_weight is not None and model == "shd-tv":
        train_study.inputs.tv_weight = deconv.tv_weight
    describe_network = Node(
        DescribeNetwork(
            model=model_label(model),
            names=[scan.name for scan in kind.scans],
            shell_bvals=list(kind.shell_bvals),
            responses=own_uris(*(response_path(kind, tissue) for tissue in kind.tissues)),
            sources=[
                bids_uri(scan.dwi_file, links=links, output_dir=output_dir) for scan in kind.scans
            ],
        ),
        name="describe_network",
        mem_gb=0.3,
    )
    ds_network = _sink(config, "ds_network", {"weights": network_path(kind, model)})
    ds_card = _sink(config, "ds_card", {"card": network_path(kind, model, ".md")})
    workflow.connect([
        (write_tables, train_study, [("gradients_files", "gradients_files")]),
        (workflow.get_node("average_responses"), train_study, [
            ("matched_files", "response_files"),
        ]),
        (train_study, describe_network, [
            ("history_file", "history_file"),
            ("summary_file", "summary_file"),
        ]),
        (train_study, ds_network, [(("weights_file", under, "weights"), "in_files")]),
        (describe_network, ds_network, [("sidecars", "sidecars")]),
        (describe_network, ds_card, [(("card_file", under, "card"), "in_files")]),
    ])  # fmt: skip


def _sink(config: RunConfig, name: str, paths: dict[str, str]) -> Node:
    """Make the node that saves some files."""
    return Node(
        SaveDerivatives(paths=paths, output_dir=str(config.execution.output_dir)),
        name=name,
        mem_gb=0.1,
        run_without_submitting=True,
    )
