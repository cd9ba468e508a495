"""Each participant is judged, gets its page and leaves the disk when its own last step ends."""

from dataclasses import replace
from itertools import pairwise

import pytest
from nipype import Function, Node, Workflow
from shd_workflows import closing as closing_module
from shd_workflows.closing import Closing
from shd_workflows.outcome import Outcome
from shd_workflows.plan import plan_series
from shd_workflows.plugin import ResilientPlugin, branch_of
from shd_workflows.run import build_workflow
from shd_workflows.sources import open_source

from shd_bids.config import DeconvConfig, ExecutionConfig, RunConfig


def _add(value: int) -> int:
    return value + 1


class _Plugin:
    """What a plugin knows in the middle of a run."""

    halted = ""

    def __init__(self, unfinished):
        self.unfinished, self.failures = set(unfinished), []


@pytest.fixture
def config(make_skeleton, tmp_path) -> RunConfig:
    bids_dir = make_skeleton({"01": ["sub-01"], "02": ["sub-02"]})
    return RunConfig(
        ExecutionConfig(
            bids_dir, tmp_path / "out", work_dir=tmp_path / "work", clean_workdir_after=True
        ),
        deconv=DeconvConfig(fod_models=("csd",), device="cpu"),
    )


@pytest.fixture
def make(config, tmp_path, monkeypatch):
    """Give two participants, the plugin, what closes them, and the pages as they are written."""
    pages = []
    monkeypatch.setattr(
        closing_module, "write_page", lambda *, label, **_: pages.append((label, _held(label)))
    )

    def _held(label):
        return (tmp_path / f"work/shd_bids_wf/sub_{label}_wf").is_dir()

    def build(**changes):
        changed = replace(config, execution=replace(config.execution, **changes))
        outcomes = []
        source = open_source(changed, ["01", "02"])
        for label in ("01", "02"):
            (series,) = source.series_of(label, changed, {})
            plan = plan_series(series, changed)
            outcomes.append(Outcome(label, tmp_path / "log" / label, plans=[plan]))
            (tmp_path / f"work/shd_bids_wf/sub_{label}_wf" / plan.name).mkdir(parents=True)
        workflow = build_workflow(changed, outcomes)
        plugin = _Plugin(node.fullname for node in workflow._create_flat_graph().nodes())
        closing = Closing(
            changed, outcomes, workflow, plugin, run_id="r", resources_text="", machine={}
        )
        return outcomes, plugin, closing, pages

    return build


def _end(closing, plugin, label, n_left=0):
    """Let a participant's steps come to a good end, all but a few."""
    own = sorted(name for name in plugin.unfinished if branch_of(name) == f"sub_{label}_wf")
    for name in own[n_left:]:
        plugin.unfinished.remove(name)
        closing.hear(name)


def test_a_participant_is_closed_at_its_last_step_and_no_other(make, tmp_path):
    (first, second), plugin, closing, pages = make()
    _end(closing, plugin, "02")
    assert pages == [("02", True)]
    assert second.finished
    assert not first.finished
    assert not (tmp_path / "work/shd_bids_wf/sub_02_wf").exists()
    _end(closing, plugin, "01", n_left=1)
    assert len(pages) == 1
    closing.close_all()
    assert [label for label, _ in pages] == ["02", "01"]
    assert first.messages == ["1 steps were not run."]
    assert (tmp_path / "work/shd_bids_wf/sub_01_wf").exists()
    assert "Not finished" in (tmp_path / "out/logs/CITATION.md").read_text()
    assert "Not finished" in (second.log_dir / "methods-study.md").read_text()


def test_a_page_with_a_bug_costs_the_others_nothing_and_nothing_is_removed(
    make, tmp_path, monkeypatch
):
    (first, second), plugin, closing, pages = make()
    written = closing_module.write_page

    def write(*, label, **more):
        if label == "01":
            raise KeyError("of a figure")
        written(label=label, **more)

    monkeypatch.setattr(closing_module, "write_page", write)
    _end(closing, plugin, "01")
    _end(closing, plugin, "02")
    closing.close_all()
    assert pages == [("02", True)]
    assert (first.finished, second.finished) == (False, True)
    assert first.messages == ["KeyError: 'of a figure'"]
    assert (tmp_path / "work/shd_bids_wf/sub_01_wf").exists()


def test_what_the_monitor_reads_at_the_end_is_there_until_then(make):
    _, plugin, closing, pages = make(resource_monitor=True)
    for label in ("01", "02"):
        _end(closing, plugin, label)
    assert pages == []
    closing.close_all()
    assert pages == [("01", True), ("02", True)]


def test_one_participant_is_taken_after_the_other(tmp_path):
    """In nipype's order the first steps of all would come before the last of any."""
    graph = Workflow("graph", base_dir=str(tmp_path))
    for label in ("b", "a"):
        steps = Workflow(f"sub_{label}_wf")
        nodes = [Node(Function(["value"], ["out"], _add), name=f"step_{i}") for i in range(3)]
        nodes[0].inputs.value = 1
        steps.connect([(one, two, [("out", "value")]) for one, two in pairwise(nodes)])
        graph.add_nodes([steps])
    ended = []
    plugin = ResilientPlugin(n_procs=1, memory_gb=1)
    plugin.on_end = lambda name: ended.append(name.split(".")[1:])
    graph.run(plugin=plugin)
    assert ended == [[f"sub_{x}_wf", f"step_{i}"] for x in "ab" for i in range(3)]
