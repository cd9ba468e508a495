"""Exactly the files that are promised: for every level, and for every kind of input."""

import json
import re
import subprocess
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from shd_workflows.anat_plan import OutputSpace
from shd_workflows.manifest import earlier_figures, planned_files
from shd_workflows.outcome import Outcome, judge_outcomes
from shd_workflows.participant import init_participant_wf, participant_wf_name
from shd_workflows.plan import plan_series
from shd_workflows.plugin import ResilientPlugin
from shd_workflows.run import build_workflow
from shd_workflows.sources import dataset_links, open_source

from shd_bids.bids.description import dataset_description, write_dataset_files
from shd_bids.bids.files import write_json
from shd_bids.bids.sidecars import generic_sidecar
from shd_bids.config import (
    LEVELS,
    AnatConfig,
    DeconvConfig,
    ExecutionConfig,
    RunConfig,
    TrackingConfig,
)
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom

MANIFESTS = Path(__file__).with_name("manifests")


def _expected(case: str, level: str = "full") -> list[str]:
    """Read a list of files: its sections are the levels, each with what it adds."""
    found, wanted = [], LEVELS[: LEVELS.index(level) + 1]
    section = LEVELS[0]
    for line in (MANIFESTS / f"{case}.txt").read_text().splitlines():
        if line.startswith("# "):
            section = line.removeprefix("# ")
        elif line and section in wanted:
            found.append(line)
    return sorted(found)


def _config(bids_dir: Path, root: Path, **execution) -> RunConfig:
    return RunConfig(
        ExecutionConfig(bids_dir, root / "out", work_dir=root / "work", **execution),
        deconv=DeconvConfig(fod_models=("shd-tv", "csd"), shd_preset="fast", device="cpu"),
        tracking=TrackingConfig(streamline_weights="life"),
    )


def _with_level(config: RunConfig, level: str) -> RunConfig:
    return replace(config, execution=replace(config.execution, level=level))


def _build(config: RunConfig, label: str = "01", change=lambda plan: plan):
    series = open_source(config, [label]).series_of(label, config, {})
    plans = [change(plan_series(one, config)) for one in series]
    return init_participant_wf(label=label, plans=plans, config=config)


def _files(workflow) -> list[str]:
    return [path for path in planned_files(workflow) if "/figures/" not in path]


@pytest.fixture
def plain(make_skeleton, tmp_path) -> RunConfig:
    return _config(make_skeleton({"01": ["sub-01"]}), tmp_path)


@pytest.fixture
def rich(make_skeleton, tmp_path) -> tuple[RunConfig, object]:
    """Give a participant that has everything, and what a plan has to be given for it."""
    stems = ["sub-01_ses-a_dir-AP", "sub-01_ses-a_dir-PA", "sub-01_ses-b_acq-hi"]
    stems += ["sub-01_ses-b_acq-lo_run-1", "sub-01_ses-b_acq-lo_run-2"]
    bids_dir = make_skeleton({"01": stems})
    for name, sign in (("AP", "-"), ("PA", "")):
        file = bids_dir / f"sub-01/ses-a/dwi/sub-01_ses-a_dir-{name}_dwi.json"
        file.write_text(f'{{"PhaseEncodingDirection": "j{sign}", "TotalReadoutTime": 0.05}}')
    t1w_file = bids_dir / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
    t1w_file.parent.mkdir()
    image = nib.Nifti1Image(np.arange(144, dtype=np.int16).reshape(6, 6, 4), np.eye(4))
    home = tmp_path / "templates" / "tpl-MNI"
    home.mkdir(parents=True)
    head = home / "tpl-MNI_T1w.nii.gz"
    regions = home / "tpl-MNI_atlas-Halves_dseg.nii.gz"
    for file in (t1w_file, head):
        image.to_filename(file)
    nib.Nifti1Image(np.ones((6, 6, 4), np.int16), np.eye(4)).to_filename(regions)
    table_file = regions.with_name("tpl-MNI_atlas-Halves_dseg.tsv")
    table_file.write_text("index\tname\tcolor\n1\tleft\tred\n")
    models = tmp_path / "models"
    models.mkdir()
    (models / "AF_left.tck").touch()
    config = _config(bids_dir, tmp_path)
    config = replace(
        config,
        anat=AnatConfig(
            anat_template=f"{head},{head}",
            output_spaces=("T1w", "MNI"),
            atlases=(str(regions),),
        ),
        deconv=replace(config.deconv, fod_models=("csd",)),
        tracking=replace(config.tracking, model_bundles=models),
    )

    def change(plan):
        assert not plan.anat.undelivered
        spaces = (*plan.anat.spaces, OutputSpace("MNI", head, 2))  # as MNI:res-2 would give
        return replace(plan, anat=replace(plan.anat, spaces=spaces))

    return config, change


@pytest.fixture
def preprocessed(tmp_path) -> RunConfig:
    phantom = make_phantom((6, 6, 6), 6.0, shells={0: 1, 1000: 12})
    root = write_qsiprep_tree(phantom, tmp_path / "qsiprep", sessions=["a"])
    return _config(root, tmp_path)


@pytest.mark.parametrize("level", LEVELS)
def test_a_scan_alone_gives_the_files_of_its_level(plain, level):
    assert _files(_build(_with_level(plain, level))) == _expected("plain", level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_participant_with_everything_gives_the_files_of_its_level(rich, level):
    config, change = rich
    files = _files(_build(_with_level(config, level), change=change))
    assert files == _expected("rich", level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_preprocessed_series_gives_the_files_of_its_level(preprocessed, level):
    assert _files(_build(_with_level(preprocessed, level))) == _expected("qsiprep", level)


def _said(workflow) -> tuple[dict[str, dict], set[str]]:
    """Give the sidecars that are known before the run, by path, and all sources of any."""
    sidecars, sources = {}, set()
    for node in workflow._get_all_nodes():
        inputs = node.inputs.get()
        if node.name.startswith("ds_") and isinstance(inputs["sidecars"], dict):
            sidecars |= {inputs["paths"][key]: one for key, one in inputs["sidecars"].items()}
        for name, value in inputs.items():
            if name.endswith(("sources", "_uris")) and not name.startswith("_"):
                sources |= set(value.values() if isinstance(value, dict) else value)
    for sidecar in sidecars.values():
        sources |= set(sidecar["Sources"]) | {sidecar.get("SpatialReference", "orig")}
    return sidecars, sources - {"orig"}


@pytest.fixture(params=["plain", "rich", "preprocessed"])
def whole(request):
    """Give the configuration of each kind of input, and its graph."""
    given = request.getfixturevalue(request.param)
    config, change = given if request.param == "rich" else (given, lambda plan: plan)
    return config, _build(config, change=change)


def test_every_source_is_in_a_linked_dataset_or_is_made_by_the_same_run(whole, tmp_path):
    config, workflow = whole
    planned = planned_files(workflow)
    links = dataset_links(config, [tmp_path / "templates/tpl-MNI/tpl-MNI_T1w.nii.gz"])
    _, sources = _said(workflow)
    assert len(sources) > 5
    for uri in sources:
        scheme, dataset, path = uri.split(":", 2)
        assert scheme == "bids", uri
        assert path in planned if not dataset else (links[dataset] / path).is_file(), uri


def test_every_sidecar_that_is_known_before_the_run_has_its_general_fields(whole):
    sidecars, _ = _said(whole[1])
    unitless = ("_mask", "_dseg", "_xfm", "_qc", "_timeseries", "_nodes", "_tractogram")
    for path, sidecar in sidecars.items():
        assert {"Description", "Sources", "SoftwareVersion"} <= set(sidecar), path
        if ".nii" in path:
            assert "SpatialReference" in sidecar, path
        if not path.split(".")[0].endswith(unitless) and "desc-nodes" not in path:
            assert "Units" in sidecar, path
        if "_res-" in path:
            assert "Resolution" in sidecar, path
        if path.endswith("_dwimap.nii.gz"):
            assert "Model" in sidecar, path


def test_templates_of_templateflow_are_a_linked_dataset(rich, tmp_path):
    config, _ = rich
    file = tmp_path / "templates/tpl-MNI/tpl-MNI_T1w.nii.gz"
    assert dataset_links(config, [file])["templateflow"] == tmp_path / "templates"
    assert set(dataset_links(config, [tmp_path / "mine.nii.gz"])) == {"raw"}


STEMS = {
    "labels with a plus": ["sub-01_acq-a+b", "sub-01_acq-ab", "sub-01_ses-ab", "sub-01_ses-a+b"],
    "reconstructions": ["sub-01_rec-norm", "sub-01_rec-raw", "sub-01"],
    "directions": ["sub-01_dir-AP", "sub-01_dir-LR"],
    "parts of one field of view": ["sub-01_chunk-1", "sub-01_chunk-2"],
    "runs": ["sub-01_acq-x_run-1", "sub-01_acq-x_run-2", "sub-01_acq-y_run-1"],
}


@pytest.mark.parametrize("stems", STEMS.values(), ids=STEMS)
def test_no_two_series_write_one_file_or_are_one_graph(make_skeleton, tmp_path, stems):
    config = _config(make_skeleton({"01": stems}), tmp_path)
    series = open_source(config, ["01"]).series_of("01", config, {})
    merged = {len(one.source_files) for one in series}
    plans = [plan_series(one, config) for one in series]
    assert len({plan.name for plan in plans}) == len(plans)
    planned = planned_files(init_participant_wf(label="01", plans=plans, config=config))
    assert sum(path.endswith("_desc-preproc_dwi.nii.gz") for path in planned) == len(series)
    assert merged == ({1, 2} if "sub-01_acq-x_run-1" in stems else {1})


def test_participants_whose_labels_differ_by_a_plus_have_graphs_of_their_own():
    assert len({participant_wf_name(label) for label in ("a+b", "ab", "a", "b")}) == 4


def test_a_participant_of_whom_two_series_would_write_one_file_stops(plain, tmp_path):
    (series,) = open_source(plain, ["01"]).series_of("01", plain, {})
    plan = plan_series(series, plain)
    twin = replace(plan, series=replace(series, entities=series.entities | {"desc": "x"}))
    outcome = Outcome("01", tmp_path / "log", plans=[plan, twin])
    assert build_workflow(plain, [outcome]).list_node_names() == []
    (message,) = outcome.messages
    assert re.search(r"would write sub-01/.*--bids-filter-file", message)
    assert outcome.crash_files


def test_a_file_counts_as_made_if_its_sink_came_to_a_good_end(plain, tmp_path):
    (series,) = open_source(plain, ["01"]).series_of("01", plain, {})
    outcome = Outcome("01", tmp_path / "log", plans=[plan_series(series, plain)])
    graph = build_workflow(plain, [outcome])._create_flat_graph()
    plugin = ResilientPlugin(n_procs=1, memory_gb=1.0)
    plugin.unfinished = {node.fullname for node in graph.nodes()}
    judge_outcomes([outcome], plugin)
    assert outcome.made == []
    plugin.unfinished = {name for name in plugin.unfinished if not name.endswith(".ds_mask")}
    judge_outcomes([outcome], plugin)
    assert [Path(path).name for path in outcome.made if "/figures/" not in path] == [
        "sub-01_space-orig_desc-brain_mask.nii.gz"
    ]
    plugin.stop()


def test_figures_of_earlier_runs_are_told_from_those_of_this_one(plain, tmp_path):
    figures_dir = tmp_path / "figures"
    figures_dir.mkdir()
    for name in ("desc-mask_dwi.png", "desc-fodf_dwi.png", "ses-b_desc-loss_dwi.svg",
                 "ses-b_desc-fit_dwi.html", "desc-scene3d_dwi.html",
                 "desc-summary_dwi.html"):  # fmt: skip
        (figures_dir / f"sub-01_{name}").touch()
    planned = planned_files(_build(_with_level(plain, "preproc")))
    assert earlier_figures(figures_dir, planned) == ["fodf", "scene3d", "ses-b fit", "ses-b loss"]
    assert earlier_figures(tmp_path / "none", planned) == []


def _fake(file: Path) -> None:
    """Write the smallest file that a validator takes for what its name says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.name.endswith(".nii.gz"):
        n_volume = {"dwi": (2,), "probseg": () if "label-" in file.name else (3,)}
        shape = (2, 2, 2, *n_volume.get(file.name.split(".")[0].rpartition("_")[2], ()))
        nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), file)
    else:
        row = {".bval": "0 1000\n", ".bvec": 3 * "0 1\n", ".tsv": "index\tname\n1\ta\n"}
        file.write_text(row.get(file.suffix, "text"))
    if file.suffix not in (".json", ".bval", ".bvec"):
        more = {"Type": "Brain", "SkullStripped": False, "Resolution": "2 mm", "LabelMap": ["WM"]}
        sidecar = generic_sidecar(description="A file.", sources=["bids::x"], version="0.1.0")
        write_json(file.with_name(f"{file.name.split('.')[0]}.json"), sidecar | more)


@pytest.mark.needs_tool("bids-validator-deno")
def test_the_validator_takes_every_name_and_passes_over_only_what_bids_has_no_rule_for(tmp_path):
    links = {"raw": Path("/data")}
    described = dataset_description(version="0.1.0", links=links, input_description={})
    write_dataset_files(tmp_path, described)
    for path in {path for case in ("plain", "rich", "qsiprep") for path in _expected(case)}:
        _fake(tmp_path / path)
    others = ("sub-01.html", "group.html", "group/desc-average_dwimap.txt", "logs/CITATION.md")
    of_one = ("log/1/shd-bids.log", "figures/sub-01_desc-mask_dwi.png")
    for name in (*others, *(f"sub-01/{one}" for one in of_one)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    assert _complaints(tmp_path) == set()

    ignored = (tmp_path / ".bidsignore").read_text().split()
    (tmp_path / ".bidsignore").write_text("")
    refused = _complaints(tmp_path)
    for pattern in set(ignored) - {"logs"}:  # which is known
        assert any(fnmatch(part, pattern) for path in refused for part in Path(path).parts), pattern


def _complaints(root: Path) -> set[str]:
    command = ["bids-validator-deno", "--format", "json", str(root)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    issues = json.loads(said)["issues"]["issues"]
    return {issue["location"] for issue in issues if issue["severity"] == "error"}
