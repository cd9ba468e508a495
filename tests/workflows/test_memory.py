"""What steps declare against what there is: said before anything runs."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from nipype import Node, Workflow
from nipype.interfaces.utility import IdentityInterface
from shd_workflows.memory import PROGRAM_GB, fit_gb, refuse_impossible, steps_gb, tell_large_steps
from shd_workflows.plan import SeriesPlan

from shd_bids.config import DeconvConfig, ExecutionConfig, ResourcesConfig, RunConfig
from shd_bids.errors import ImageError


@pytest.fixture
def make_config(tmp_path):
    def make(mem, **execution):
        (tmp_path / "bids").mkdir(exist_ok=True)
        places = (tmp_path / "bids", tmp_path / "out")
        settings = ExecutionConfig(*places, work_dir=tmp_path / "work", **execution)
        return RunConfig(settings, resources=ResourcesConfig(mem=mem))

    return make


@pytest.fixture
def on_cluster(tmp_path):
    file = tmp_path / "plugin.json"
    file.write_text('{"plugin": "SLURM"}')
    return {"use_plugin": file}


@pytest.fixture
def graph():
    made = Workflow("graph")
    sizes = {"small": 0.5, "large": 4.0, "larger": 9.25}
    made.add_nodes([Node(IdentityInterface(["a"]), name=n, mem_gb=g) for n, g in sizes.items()])
    return made


def test_the_program_itself_counts():
    assert steps_gb(ResourcesConfig(mem=16.0)) == 16.0 - PROGRAM_GB
    assert steps_gb(ResourcesConfig(mem=1.0)) > 0


def test_steps_larger_than_what_is_given_are_named_with_what_to_do(graph, caplog, make_config):
    with caplog.at_level("WARNING", logger="shd_workflows"):
        names = tell_large_steps(graph, make_config(3.0))
    assert names == ["graph.larger", "graph.large"]
    assert "2 steps declare more memory than the 2.4 GB that --mem 3 leaves" in caplog.text
    assert "larger with 9.2 GB" in caplog.text or "larger with 9.3 GB" in caplog.text
    assert "--shd-preset" in caplog.text


def test_nothing_is_said_where_all_fits_or_jobs_are_made(graph, caplog, make_config, on_cluster):
    assert tell_large_steps(graph, make_config(16.0)) == []
    assert tell_large_steps(graph, make_config(3.0, **on_cluster)) == []
    assert caplog.text == ""


def test_a_larger_network_declares_more_and_a_card_takes_it_off_the_machine():
    deconv = DeconvConfig(device="cpu", shd_preset="fast")
    sizes = {"n_voxel": 200_000, "size_gb": 0.05, "coefficients_gb": 0.04, "n_threads": 1}
    fast = fit_gb("shd-tv", deconv, **sizes)
    standard = fit_gb("shd-tv", replace(deconv, shd_preset="standard"), **sizes)
    on_card = fit_gb("shd-tv", replace(deconv, device="cuda", shd_preset="standard"), **sizes)
    assert on_card < fast < standard
    assert fit_gb("csd", deconv, **sizes) < fast
    assert fit_gb("csd", deconv, **{**sizes, "n_threads": 8}) > fit_gb("csd", deconv, **sizes)


def test_a_series_larger_than_all_memory_is_refused_with_the_numbers(make_config, on_cluster):
    series = SimpleNamespace(source_stem="sub-01_dwi")
    plan = SeriesPlan(
        series=series, shape=(128, 128, 78, 270), growth=2.0, geometry=None, slice_axis=None,
        ringing="", anat=None, shell_bvals=(0.0,), models=("csd",), weights="none",
    )  # fmt: skip
    with pytest.raises(ImageError, match=r"270 volumes, 2\.8 GB as 32-bit floats; --mem is 2 GB"):
        refuse_impossible(plan, make_config(2.0))
    refuse_impossible(plan, make_config(3.0))
    refuse_impossible(plan, make_config(2.0, **on_cluster))
