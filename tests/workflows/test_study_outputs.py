"""What a study expects of a participant is what the graph says that it will write."""

from pathlib import Path

import pytest
from shd_workflows.participant import init_participant_wf
from shd_workflows.plan import plan_series

from shd_bids.bids.dataset import open_layout
from shd_bids.bids.series import collect_series
from shd_bids.bids.study import State, read_study
from shd_bids.config import DeconvConfig, ExecutionConfig, RunConfig
from shd_bids.config.file import config_text


@pytest.fixture
def promised(make_skeleton, tmp_path) -> Path:
    """Make an empty file wherever a node would save one."""
    bids_dir = make_skeleton({"01": ["sub-01_ses-a"]})
    config = RunConfig(
        ExecutionConfig(bids_dir, tmp_path / "out", work_dir=tmp_path / "work"),
        deconv=DeconvConfig(shd_preset="fast", device="cpu"),
    )
    layout = open_layout(bids_dir, participant_labels=["01"])
    plans = [plan_series(one, config) for one in collect_series(layout, "01")]
    workflow = init_participant_wf(label="01", plans=plans, config=config)
    for node in workflow._get_all_nodes():
        if node.name.startswith("ds_"):
            for path in node.inputs.paths.values():
                file = tmp_path / "out" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    log_dir = tmp_path / "out/sub-01/log/20260101-000000_x"
    log_dir.mkdir(parents=True)
    (log_dir / "shd-bids.toml").write_text(config_text(config))
    (tmp_path / "out/sub-01.html").touch()
    return tmp_path / "out"


def test_who_has_all_that_the_graph_saves_has_finished(promised):
    (participant,) = read_study(promised).participants
    assert participant.missing == {}
    assert participant.state is State.FINISHED
    (series,) = participant.series
    assert series.models == ["csd", "shdtv"]
    for model in series.models:
        assert series.find("qc", ".tsv", desc="model", model=model, space="orig")
