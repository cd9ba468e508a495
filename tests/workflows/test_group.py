"""A study from its participants' outputs to average responses and one network, and back."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from niworkflows.engine.workflows import LiterateWorkflow
from shd_workflows import group_run
from shd_workflows.group import init_group_wf
from shd_workflows.group_run import GroupOutcome
from shd_workflows.group_scans import collect_scans, find_participants, sort_by_kind
from shd_workflows.plugin import Failure
from shd_workflows.run import run_participants
from shd_workflows.task import TaskSettings
from workflows.study_tree import MULTI, write_dataset, write_participant

from shd_bids.cli.weights import read_preset
from shd_bids.config import ExecutionConfig, RunConfig, build_config
from shd_bids.errors import ConfigError, OutputError
from shd_bids.testing.study import write_study

LABELS = ("01", "02", "03")


def _write_study(root: Path, *multi: str) -> Path:
    bids_dir = write_dataset(root / "bids", "raw")
    out = write_dataset(root / "out", "derivative")
    for number, label in enumerate(LABELS):
        (bids_dir / f"sub-{label}").mkdir()
        bvals = {"bvals": MULTI} if label in multi else {}
        write_participant(out, label, gain=2.0**number, noise=0.02 + 0.01 * number, **bvals)
    return root


def _config(root: Path, **sections: dict) -> RunConfig:
    execution = {
        "bids_dir": root / "bids",
        "output_dir": root / "out",
        "analysis_level": "group",
        "work_dir": root / "work",
        **sections.pop("execution", {}),
    }
    settings = {"resources": {"nprocs": 2}, "deconv": {"device": "cpu", "shd_preset": "fast"}}
    return build_config({"execution": execution, **settings, **sections})


def _nodes(config: RunConfig, gpus: tuple[str, ...] = ()) -> list[dict]:
    """Give the nodes of each kind's graph by name."""
    found = collect_scans(config.execution, config.preproc, find_participants(config.execution), {})
    graphs = [
        init_group_wf(kind=kind, config=config, gpus=gpus) for kind in sort_by_kind(found.scans)
    ]
    return [{node.name: node for node in graph._get_all_nodes()} for graph in graphs]


def test_a_study_has_one_network_and_one_response_a_tissue(tmp_path: Path) -> None:
    (nodes,) = _nodes(_config(_write_study(tmp_path)))
    assert len(nodes["train_study"].inputs.dwi_files) == 3
    paths = {name: node.inputs.paths for name, node in nodes.items() if name.startswith("ds_")}
    stem = "group/group_model-shdtv_desc-weights_model"
    assert paths["ds_network"] == {"weights": f"{stem}.safetensors"}
    assert paths["ds_card"] == {"card": f"{stem}.md"}
    assert paths["ds_responses"]["CSF"] == "group/group_param-response_label-CSF_dwimap.txt"


def test_scans_of_other_shells_get_a_network_of_their_own(tmp_path: Path) -> None:
    graphs = _nodes(_config(_write_study(tmp_path, "03")))
    places = [nodes["ds_network"].inputs.paths["weights"].split("/")[1] for nodes in graphs]
    assert places == ["b0-1000", "b0-1000-2500"]


@pytest.mark.parametrize(
    "sections",
    [{"execution": {"level": "response"}}, {"deconv": {"device": "cpu", "fod_models": ("csd",)}}],
)
def test_without_a_network_to_train_responses_are_averaged_all_the_same(
    tmp_path: Path, sections: dict
) -> None:
    (nodes,) = _nodes(_config(_write_study(tmp_path), **sections))
    assert "average_responses" in nodes
    assert "train_study" not in nodes


def test_several_cards_train_together(tmp_path: Path) -> None:
    (nodes,) = _nodes(_config(_write_study(tmp_path)), gpus=("0", "3"))
    assert nodes["train_study"].inputs.gpus == ["0", "3"]


@pytest.mark.parametrize(
    ("section", "flag"), [("response", {"files": "WM"}), ("deconv", {"weights": "w"})]
)
def test_what_the_group_level_makes_itself_is_not_given(tmp_path: Path, section, flag) -> None:
    _write_study(tmp_path)
    file = tmp_path / "given"
    file.write_text("")
    ((name, value),) = flag.items()
    given = {name: {value: file} if name == "files" else file}
    with pytest.raises(ConfigError, match=r"--\w+ is for the level participant"):
        _config(tmp_path, **{section: given})


def test_a_study_of_which_only_the_page_was_asked_for_is_finished() -> None:
    assert GroupOutcome(["01"]).finished
    assert not GroupOutcome(["01"], left_out={"sub-01": "why"}).finished
    assert not GroupOutcome(["01"], messages=["train_study failed"]).finished


def test_what_halted_the_graph_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = "No space left on device: none. The same command then goes on where it stopped."
    plugin = SimpleNamespace(failures=[], unfinished={"x.group_wf.a"}, halted=disk)
    monkeypatch.setattr(group_run, "make_plugin", lambda *_: plugin)
    monkeypatch.setattr(group_run, "execute", lambda *_: None)
    settings, workflow = TaskSettings(), LiterateWorkflow(name="x")
    (tmp_path / "bids").mkdir()
    places = (tmp_path / "bids", tmp_path / "out")
    config = RunConfig(ExecutionConfig(*places, work_dir=tmp_path / "work"))
    outcome = GroupOutcome([])
    group_run._execute(config, workflow, [], settings, outcome)
    assert outcome.messages == [f"1 steps were not run. {disk}"]
    plugin.failures = [Failure(f"x.{name}", f"{name} failed: {disk}") for name in "ab"]
    outcome = GroupOutcome([])
    group_run._execute(config, workflow, [], settings, outcome)
    assert outcome.messages == [f"a failed: {disk} For the same reason failed b."]


def test_a_page_that_cannot_be_written_is_a_failure_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OutputError("Cannot write group.html: no room.")

    monkeypatch.setattr(group_run, "_report", refuse)
    (tmp_path / "bids/sub-01").mkdir(parents=True)
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.0"}')
    places = (tmp_path / "bids", tmp_path / "out")
    execution = ExecutionConfig(*places, work_dir=tmp_path / "work", analysis_level="group")
    outcome = group_run.run_group(RunConfig(execution), resources_text="")
    assert outcome.messages[-1] == "Cannot write group.html: no room."


def test_a_page_of_preprocessing_alone_counts_its_series(tmp_path: Path) -> None:
    write_study(tmp_path, 3)
    outcome = group_run.run_group(
        _config(tmp_path, execution={"level": "preproc"}), resources_text=""
    )
    assert (outcome.n_series, outcome.messages) == (3, [])
    assert (tmp_path / "out/group.html").is_file()


def test_a_place_of_the_log_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "bids/sub-01").mkdir(parents=True)
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.0"}')
    (tmp_path / "out").mkdir()
    places = (tmp_path / "bids", tmp_path / "out")
    for level, name, run in (
        ("group", "group", group_run.run_group),
        ("participant", "sub-01", run_participants),
    ):
        (tmp_path / "out" / name).touch()
        execution = ExecutionConfig(*places, work_dir=tmp_path / "work", analysis_level=level)
        with pytest.raises(OutputError, match=f"Cannot write .*{name}/log"):
            run(RunConfig(execution), resources_text="")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the group level on three participants and one that was never run."""
    root = _write_study(tmp_path_factory.mktemp("study"))
    (root / "bids/sub-04").mkdir()
    done = _run(root, "out", "group", "--shd-steps", 3)
    assert done.returncode == 1  # because of sub-04
    return root, done.stdout


def _run(root: Path, out: str, level: str, *more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shd_bids.cli.run", root / "bids", root / out, level]
    command += ["-w", root / "work", "--lmax", 4, "--device", "cpu", "--omp-nthreads", 1, *more]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def test_who_is_left_out_is_named_in_the_last_line(study: tuple[Path, str]) -> None:
    last = study[1].strip().splitlines()[-1]
    assert last == ("shd-bids finished: group of 4 participant(s), 3 series; left out: sub-04.")


def test_gain_does_not_change_the_average(study: tuple[Path, str]) -> None:
    folder = study[0] / "out/group"
    stem = folder / "group_param-response_label-WM_dwimap"
    own = np.loadtxt(
        study[0] / "out/sub-01/dwi/sub-01_space-orig_param-response_label-WM_dwimap.txt"
    )
    np.testing.assert_allclose(np.loadtxt(f"{stem}.txt"), own * 7 / 3, rtol=1e-6)
    sidecar = json.loads(Path(f"{stem}.json").read_text())
    np.testing.assert_allclose(sidecar["StandardDeviation"], 0, atol=1e-6 * own.max())
    assert len(sidecar["Sources"]) == sidecar["NumberOfSeries"] == 3
    rows = (folder / "group_desc-response_qc.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in rows] == ["series", "sub-01", "sub-02", "sub-03"]


def test_the_network_says_how_it_was_made_and_how_it_fits_each(study: tuple[Path, str]) -> None:
    stem = study[0] / "out/group/group_model-shdtv_desc-weights_model"
    sidecar = json.loads(Path(f"{stem}.json").read_text())
    assert [loss["series"] for loss in sidecar["Losses"]] == ["sub-01", "sub-02", "sub-03"]
    assert all(np.isfinite(loss["total"]) for loss in sidecar["Losses"])
    assert sidecar["Training"]["step"][-1] == 3
    assert sidecar["Settings"]["n_scan"] == 3
    assert read_preset(Path(f"{stem}.safetensors")) == "fast"
    card = Path(f"{stem}.md").read_text()
    assert "3 of 3 series" in card
    for label in LABELS:
        assert f"| sub-{label} |" in card


def test_the_page_shows_averages_and_network_and_is_remade_from_what_is_there(
    study: tuple[Path, str],
) -> None:
    page_file = study[0] / "out/group.html"
    page = page_file.read_text()
    why = "sub-04 is left out: the participant level was not run"
    for what in ("Responses", "Network", "Methods", "not processed", why):
        assert what in page, what
    for link in re.findall(r'href="([^"#:]+)"', page):
        assert (page_file.parent / link).is_file(), link
    page_file.unlink()
    done = _run(study[0], "out", "group", "--reports-only")
    assert "train_study: started" not in done.stdout
    remade = page_file.read_text()
    assert _section(remade, "Network") == _section(page, "Network") != ""
    assert _section(remade, "Responses") == _section(page, "Responses") != ""


def _section(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_a_participant_takes_both_from_the_folder_without_training(
    study: tuple[Path, str],
) -> None:
    root = study[0]
    group = root / "out/group"
    given = ("-d", f"shdbids={root / 'out'}", "--response", group, "--weights", group)
    given += ("--response-intensity", "as-given")  # too small a scan to tell its own
    models = ("--level", "fod", "--fod-model", "shd-tv")
    done = _run(root, "again", "participant", *given, "--participant-label", "02", *models)
    assert done.returncode == 0, done.stdout + done.stderr
    stem = root / "again/sub-02/dwi/sub-02_space-orig_model-shdtv"
    settings = json.loads(Path(f"{stem}_param-fod_label-WM_dwimap.json").read_text())["Settings"]
    assert settings["training_seconds"] == 0
    assert settings["weights_file"] == str(
        group / "group_model-shdtv_desc-weights_model.safetensors"
    )
