"""The graph that goes on from results of an earlier run: what is taken and what is made anew."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from own_tree import BVALS, RESPONSES, change_fields, write_image, write_own_tree
from safetensors.numpy import save_file
from shd_workflows.own_fit import why_not_atlas
from shd_workflows.own_results import own_figures
from shd_workflows.participant import init_participant_wf
from shd_workflows.plan import plan_series
from shd_workflows.sources import open_source, suggest_own

from shd_bids.anat.atlas import Atlas
from shd_bids.config import DeconvConfig, ExecutionConfig, RunConfig, TrackingConfig
from shd_bids.deconvolution.presets import get_preset
from shd_bids.errors import ConfigError
from shd_bids.interfaces.derivatives import relink
from shd_bids.response.io import Response, write_response

FOD = "sub-01_space-orig_model-{}_param-fod_label-{}_dwimap"


@pytest.fixture
def own_dir(tmp_path) -> Path:
    return write_own_tree(tmp_path / "out", ("csd", "shd-tv"))


@pytest.fixture
def config(make_skeleton, own_dir, tmp_path) -> RunConfig:
    return RunConfig(
        ExecutionConfig(
            make_skeleton({"01": ["sub-01"]}),
            own_dir,
            work_dir=tmp_path / "work",
            derivatives={"shdbids": own_dir},
        ),
        deconv=DeconvConfig(
            fod_models=("csd", "shd-tv"), shd_preset="fast", shd_steps=20, device="cpu"
        ),
        tracking=TrackingConfig(streamline_weights="none"),
    )


def _build(config, **sections):
    """Build the graph with some settings changed; give it with the plan."""
    changed = {name: replace(getattr(config, name), **values) for name, values in sections.items()}
    config = replace(config, **changed)
    source = open_source(config, ["01"])
    (series,) = source.series_of("01", config, {})
    plan = plan_series(series, config)
    return init_participant_wf(label="01", plans=[plan], config=config), plan


def _steps(workflow) -> set[str]:
    """Name what runs: the nodes that do not only hand on."""
    return {
        name
        for name in workflow.list_node_names()
        if not name.endswith(("inputnode", "outputnode"))
    }


def _sinks(workflow):
    return [node for node in workflow._get_all_nodes() if node.name.startswith("ds_")]


def _sources(workflow) -> list[str]:
    (describe,) = (n for n in workflow._get_all_nodes() if n.name == "describe_tractogram")
    return describe.inputs.sources


def test_only_streamlines_are_made_where_the_rest_is_there(config):
    workflow, plan = _build(config)
    assert {name.split(".")[1] for name in _steps(workflow)} == {
        "tractography_wf",
        "tractogram_derivatives_wf",
        "tracts_report_wf",
    }
    assert plan.own.models == ("csd", "shd-tv")
    track = workflow.get_node("dwi_wf.tractography_wf.track_streamlines")
    assert track is not None


@pytest.mark.parametrize("level", ["preproc", "response", "fod"])
def test_nothing_runs_up_to_the_level_that_is_there(config, level):
    workflow, _ = _build(config, execution={"level": level})
    assert not _steps(workflow)


def test_a_lower_level_takes_less_and_says_nothing_of_models(config, caplog):
    caplog.set_level("INFO")
    _, plan = _build(config, execution={"level": "response"})
    assert plan.own.responses
    assert "comes without anatomy" not in caplog.text  # its tissue map is taken
    assert not plan.own.models
    assert "model" not in caplog.text.split("taken from")[1].split("\n")[0]


def test_sources_stay_in_the_output_or_point_into_the_linked_dataset(config, tmp_path):
    fod = f"sub-01/dwi/{FOD.format('csd', 'WM')}.nii.gz"
    tissue = "sub-01/anat/sub-01_space-orig_probseg.nii.gz"
    uris = [f"bids::{fod}", f"bids::{tissue}"]
    here, elsewhere = (
        _build(config, execution={"output_dir": folder})[0]
        for folder in (config.execution.output_dir, tmp_path / "out2")
    )
    assert _sources(here) == _sources(elsewhere) == uris
    assert not any(sink.inputs.relinked for sink in _sinks(here))
    (sink,) = (sink for sink in _sinks(elsewhere) if sink.name == "ds_tractogram")
    linked = [f"bids:shdbids:{fod}", f"bids:shdbids:{tissue}"]
    assert relink({"Sources": uris}, sink.inputs.relinked) == {"Sources": linked}


def test_in_another_folder_only_the_figures_before_streamlines_are_copied(config, tmp_path):
    workflow, _ = _build(config, execution={"output_dir": tmp_path / "out2"})
    (sink,) = (node for node in _sinks(workflow) if node.name == "ds_own_figures")
    assert set(sink.inputs.paths) == {"motion", "response", "fodf", "loss"}
    assert not [node.name for node in _sinks(_build(config)[0]) if node.name == "ds_own_figures"]


def test_weights_of_earlier_streamlines_do_not_stay_beside_others(config, own_dir, tmp_path):
    stem = f"{own_dir}/sub-01/dwi/sub-01_space-orig_model-csd_track-probabilistic"
    for kind in ("tsv", "json"):
        Path(f"{stem}_desc-weights_tractogram.{kind}").write_text("{}")
    (tmp_path / "new.tck").write_text("streamlines")
    (sink,) = (one for one in _sinks(_build(config)[0]) if one.name == "ds_tractogram")
    sink.interface.inputs.in_files = {"tck": str(tmp_path / "new.tck")}
    sink.interface.run(cwd=tmp_path)
    assert Path(f"{stem}_tractogram.tck").is_file()
    assert not list(own_dir.glob("sub-01/dwi/*desc-weights_tractogram*"))


def test_figures_of_what_is_taken_are_no_leftovers(config):
    figures = {Path(path).name for path in own_figures([_build(config)[1]])}
    assert figures == {
        f"sub-01_desc-{what}_dwi.svg" for what in ("motion", "response", "fodf", "loss")
    }


@pytest.mark.parametrize(
    ("section", "changed", "models", "words"),
    [
        ("deconv", {"lmax": 6}, (), r"model csd .*--lmax is 6, it was 8"),
        ("deconv", {"shd_steps": 30}, ("csd",), r"shd-tv .*--shd-steps is 30, it was 20"),
        ("deconv", {"shd_preset": "paper"}, ("csd",), "--shd-preset is paper, it was fast"),
        ("deconv", {"tv_weight": 0.25}, ("csd",), r"--tv-weight is 0\.25, it was 0\.5"),
        ("deconv", {"random_seed": 3}, ("csd",), "--random-seed is 3, it was 0"),
        ("deconv", {"precision": "bfloat16"}, ("csd",), "--precision is bfloat16"),
        ("deconv", {"fod_models": ("rumba", "csd")}, ("csd",), "model rumba .*none yet"),
        ("preproc", {"b0_threshold": 0.0}, ("csd", "shd-tv"), "taken from"),
    ],
)
def test_a_model_is_made_anew_where_a_flag_differs(config, caplog, section, changed, models, words):
    caplog.set_level("INFO")
    workflow, plan = _build(config, **{section: changed})
    assert plan.own.models == models
    assert any(re.search(words, line) for line in caplog.messages), caplog.text
    fits = {name.split(".")[1] for name in _steps(workflow) if name.endswith("fit_fodf")}
    wanted = {model.replace("-", "") for model in set(plan.models) - set(models)}
    assert fits == {f"{label}_wf" for label in wanted}


def test_where_one_model_is_fitted_all_are_pictured_from_what_their_sidecars_tell(config):
    workflow, _ = _build(config, deconv={"shd_steps": 30})
    steps = _steps(workflow)
    assert "dwi_wf.csd_wf.read_fit" in steps
    assert "dwi_wf.fodf_report_wf.plot_maps" in steps
    assert "dwi_wf.preproc_wf.ingest" in steps
    assert not any(name.split(".")[1] in ("response_wf", "csd_derivatives_wf") for name in steps)


def test_given_weights_win_unless_they_are_the_same(config, own_dir, tmp_path):
    weights = tmp_path / "weights.safetensors"
    preset = get_preset("fast")
    told = {name: getattr(preset, name) for name in ("n_side", "n_level", "filters", "n_order")}
    told |= {"n_shell": 2, "tissues": "WM+CSF", "spatial": True, "form": "commuted"}
    save_file({"a": np.ones(1)}, weights, {name: str(value) for name, value in told.items()})
    assert _build(config, deconv={"weights": weights})[1].own.models == ("csd",)
    from shd_bids.bids.files import file_digest

    sidecar = own_dir / f"sub-01/dwi/{FOD.format('shdtv', 'WM')}.json"
    settings = json.loads(sidecar.read_text())["Settings"]
    told = settings | {"weights_file": "x", "weights_digest": file_digest(weights)}
    change_fields(sidecar, Settings=told)
    assert _build(config, deconv={"weights": weights})[1].own.models == ("csd", "shd-tv")
    assert _build(config)[1].own.models == ("csd",)


def _call_responses_given(own_dir):
    """Name the responses of an earlier run as those that --response gave it."""
    for file in own_dir.glob("sub-01/dwi/*_param-response_label-*_dwimap.*"):
        file.rename(file.with_name(file.name.replace("_dwimap", "_desc-given_dwimap")))


def test_responses_of_a_study_may_have_been_brought_to_the_scan(config, own_dir, tmp_path):
    _call_responses_given(own_dir)

    def is_taken(factors, intensity):
        files = {tissue: tmp_path / f"{tissue}.txt" for tissue in factors}
        for tissue, factor in factors.items():
            write_response(Response(tissue, BVALS, factor * RESPONSES[tissue]), files[tissue])
        plan = _build(config, response={"files": files, "intensity": intensity})[1]
        return plan.own.responses

    one_factor, two_factors = {"WM": 1.1, "CSF": 1.1}, {"WM": 1.1, "CSF": 1.2}
    assert is_taken(one_factor, "matched")
    assert not is_taken(one_factor, "as-given")
    assert not is_taken(two_factors, "matched")
    assert not is_taken({"WM": 1.0, "CSF": 1.0}, "matched")  # it was not brought to the scan


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_given_responses_win_unless_they_are_the_same(config, own_dir, tmp_path, factor):
    files = {tissue: tmp_path / f"{tissue}.txt" for tissue in RESPONSES}
    for tissue, file in files.items():
        write_response(Response(tissue, BVALS, factor * RESPONSES[tissue]), file)
    assert not _build(config, response={"files": files})[1].own.responses  # those are estimates
    _call_responses_given(own_dir)
    plan = _build(config, response={"files": files})[1]
    assert plan.own.responses == bool(plan.own.models) == (factor == 1.0)
    assert not _build(config)[1].own.responses  # and these are not


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("model-csd_param-fraction_label-WM_dwimap.nii.gz", "half of it is missing"),
        ("model-csd_param-peaks_dwimap.nii.gz", "half of it is missing"),
        ("model-csd_param-fod_label-WM_dwimap.json", "tells no Settings"),
    ],
)
def test_half_a_model_is_made_anew(config, own_dir, caplog, gone, words):
    caplog.set_level("INFO")
    (own_dir / f"sub-01/dwi/sub-01_space-orig_{gone}").unlink()
    workflow, plan = _build(config)
    assert plan.own.models == ("shd-tv",)
    assert words in caplog.text
    assert "dwi_wf.csd_wf.fit_fodf" in _steps(workflow)


def test_images_that_are_cut_or_on_another_grid_are_not_taken(config, own_dir, caplog):
    caplog.set_level("INFO")
    cut = own_dir / f"sub-01/dwi/{FOD.format('csd', 'WM')}.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-20])
    stem = own_dir / "sub-01/anat/sub-01_space-orig_probseg"
    moved = np.diag([2.0, 2.0, 2.5, 1.0])
    nib.Nifti1Image(np.ones((6, 6, 4, 3), np.float32), moved).to_filename(f"{stem}.nii.gz")
    _, plan = _build(config)
    assert plan.own.models == ("shd-tv",)
    assert plan.own.anatomy is None
    assert f"{cut.name} is truncated" in caplog.text
    assert "another grid" in caplog.text


def test_a_series_that_was_replaced_takes_its_models_with_it(config, own_dir, caplog):
    caplog.set_level("INFO")
    write_image(f"{own_dir}/sub-01/dwi/sub-01_space-orig_desc-preproc_dwi", 13)
    _, plan = _build(config)
    assert plan.own.measures
    assert not plan.own.responses
    assert not plan.own.models
    assert "it was made from another series" in caplog.text


def _bring_atlas(own_dir, folder):
    """Write an atlas with a blank in its name, and what an earlier run has made of it."""
    folder.mkdir()
    atlas = Atlas("own", folder / "my own_dseg.nii.gz", folder / "my own_dseg.tsv", "T1w")
    atlas.table_file.write_text("index\tname\n1\tA\n")
    atlas.file.write_bytes(b"labels")
    stem = f"{own_dir}/sub-01/dwi/sub-01_space-orig_seg-own_dseg"
    write_image(stem, 1, Sources=[atlas.file.as_uri(), atlas.table_file.as_uri()])
    Path(f"{stem}.tsv").write_text("index\tname\n1\tA\n")
    for file in (atlas.file, atlas.table_file):
        os.utime(file, (1, 1))
    return atlas


def test_an_atlas_is_brought_anew_where_its_labels_or_their_names_changed(
    config, own_dir, tmp_path
):
    atlas = _bring_atlas(own_dir, tmp_path / "atlas")
    own = _build(config)[1].series.own
    assert not why_not_atlas(atlas, own)
    os.utime(atlas.table_file)
    os.utime(own.atlases["own"][0], (2, 2))
    assert why_not_atlas(atlas, own) == ["my own_dseg.tsv is newer"]
    (reason,) = why_not_atlas(replace(atlas, table_file=tmp_path / "names.tsv"), own)
    assert reason.startswith("names.tsv is asked for; it was made from my own_dseg.nii.gz and")


def test_what_preprocessing_has_left_is_never_written_again(config, own_dir):
    (own_dir / "sub-01/dwi/sub-01_desc-image_qc.tsv").unlink()
    workflow, plan = _build(config)
    assert not plan.own.measures
    kept = {key for node in _sinks(workflow) for key in node.inputs.kept}
    assert kept == {"mask", "confounds"}
    assert "dwi_wf.preproc_wf.measure_quality" in _steps(workflow)


def test_the_methods_are_those_of_the_run_that_made_it(config):
    text = _build(config)[0].visit_desc()
    for words in ("### Preprocessing\n\nPrepared by hand [@csd]", "Tissue text.", "csd by hand.",
                  "### Fibre orientations\n\nResponses by hand.", "shd-tv by hand.",
                  "Maps of their density"):  # fmt: skip
        assert words in text


def test_results_of_a_series_that_lies_elsewhere_are_taken_too(config, own_dir, tmp_path):
    folder = tmp_path / "other/sub-01/dwi"
    folder.mkdir(parents=True)
    (tmp_path / "other/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1"}')
    for file in (own_dir / "sub-01/dwi").glob("*desc-preproc_dwi*"):
        file.rename(folder / file.name)
    both = {"shdbids": own_dir, "other": tmp_path / "other"}
    _, plan = _build(config, execution={"derivatives": both})
    assert plan.series.dwi_file.parent == folder
    assert plan.own.models == ("csd", "shd-tv")
    twice = {"one": own_dir, "two": own_dir}
    with pytest.raises(ConfigError, match="2 datasets of shd-bids"):
        _build(config, execution={"derivatives": twice})


def test_the_dataset_may_also_be_the_input(config, own_dir, tmp_path):
    _, plan = _build(
        config,
        execution={"bids_dir": own_dir, "output_dir": tmp_path / "out2", "derivatives": {}},
    )
    assert plan.own.models == ("csd", "shd-tv")


def test_raw_images_that_no_earlier_run_has_preprocessed_are_named(config, caplog):
    folder = config.execution.bids_dir / "sub-01"
    (folder / "ses-b/dwi").mkdir(parents=True)
    (folder / "ses-b/dwi/sub-01_ses-b_dwi.nii.gz").touch()
    (folder / "dwi/sub-01_acq-lo_dwi.nii.gz").touch()  # the series there may be of both
    open_source(config, ["01"]).series_of("01", config, {})
    (warning,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert warning.startswith("sub-01: sub-01_ses-b_dwi.nii.gz of the input is left out")
    caplog.clear()
    open_source(config, ["01"]).series_of("01", config, {"dwi": {"session": None}})
    assert not caplog.records


def test_who_starts_anew_beside_earlier_results_is_told_how_to_use_them(config, caplog):
    caplog.set_level("INFO")
    suggest_own(config.execution, ["02"])
    assert not caplog.text
    suggest_own(config.execution, ["01", "02"])
    assert f"give -d shdbids={config.execution.output_dir}" in caplog.text
    assert "sub-02" not in caplog.text
