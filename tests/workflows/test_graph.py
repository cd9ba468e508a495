"""The graph of a participant, built over a skeleton: nothing is run."""

import itertools
from dataclasses import replace
from pathlib import Path

import networkx as nx
import nibabel as nib
import numpy as np
import pytest
from shd_workflows.derivatives import Target, model_label
from shd_workflows.participant import init_participant_wf
from shd_workflows.plan import choose_models, plan_series
from shd_workflows.reports import describe_series
from shd_workflows.sources import open_source

from shd_bids.bids.dataset import open_layout
from shd_bids.bids.phase_encoding import PhaseEncodingFields
from shd_bids.bids.series import collect_series
from shd_bids.bids.sidecars import MODEL_DESCRIPTIONS
from shd_bids.config import (
    FOD_MODELS,
    LEVELS,
    DeconvConfig,
    ExecutionConfig,
    ResponseConfig,
    RunConfig,
)
from shd_bids.errors import BidsDataError, ConfigError, GradientTableError, ImageError
from shd_bids.reports.figures.style import model_name
from shd_bids.reports.methods import bibliography, cited_keys
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom


@pytest.fixture
def config(make_skeleton, tmp_path) -> RunConfig:
    bids_dir = make_skeleton({"01": ["sub-01_ses-a", "sub-01_ses-b"]})
    return RunConfig(
        ExecutionConfig(bids_dir, tmp_path / "out", work_dir=tmp_path / "work"),
        deconv=DeconvConfig(shd_preset="fast", device="cpu"),
    )


@pytest.fixture
def series(config):
    layout = open_layout(config.execution.bids_dir, participant_labels=["01"])
    return collect_series(layout, "01")


@pytest.fixture
def build(config, series):
    """Build with some settings changed, after the images are gone: building opens none."""
    plans = [plan_series(one, config) for one in series]
    for file in config.execution.bids_dir.rglob("*.nii.gz"):
        file.unlink()

    def make(**sections):
        changed = {
            name: replace(getattr(config, name), **values) for name, values in sections.items()
        }
        new = replace(config, **changed)
        models = new.deconv.fod_models or plans[0].models
        fitted = [replace(plan, models=models) for plan in plans]
        return init_participant_wf(label="01", plans=fitted, config=new)

    return make


def _names(workflow):
    return workflow.list_node_names()


def test_every_session_has_a_graph_of_its_own(build):
    assert {name.split(".")[0] for name in _names(build())} == {"dwi_ses_a_wf", "dwi_ses_b_wf"}


@pytest.mark.parametrize(
    ("level", "last", "beyond"),
    [
        ("preproc", "ds_dwi", "estimate_response"),
        ("response", "ds_response", "fit_fodf"),
        ("fod", "ds_fod", "track_streamlines"),
        ("full", "ds_tractogram", "nothing"),
    ],
)
def test_the_level_cuts_the_graph(build, level, last, beyond):
    leaves = {name.split(".")[-1] for name in _names(build(execution={"level": level}))}
    assert last in leaves
    assert beyond not in leaves


def test_a_higher_level_has_every_step_of_a_lower_one_under_the_same_name(build):
    """So that a work directory of the lower level serves it."""
    steps = [set(_names(build(execution={"level": level}))) for level in LEVELS]
    for lower, higher in itertools.pairwise(steps):
        assert lower < higher


def test_tractography_can_be_left_out(build):
    names = _names(build(tracking={"skip_tractography": True}))
    assert not any("track" in name for name in names)


@pytest.fixture
def tracts(config, series, tmp_path):
    """Build the graph of one series with an atlas, models of bundles and other settings."""
    atlas, models = tmp_path / "Halves_space-orig_dseg.nii.gz", tmp_path / "models"
    image = nib.load(series[0].runs[0].dwi_file)
    nib.Nifti1Image(np.ones(image.shape[:3], np.int16), image.affine).to_filename(atlas)
    atlas.with_name("Halves_space-orig_dseg.tsv").write_text("index\tname\n1\tall\n")
    models.mkdir()
    for name in ("CST_left.tck", "bundles.trk", "whole_brain.trk"):
        (models / name).touch()

    def make(**tracking):
        given = {"streamline_weights": "life", "model_bundles": models} | tracking
        changed = replace(
            config,
            tracking=replace(config.tracking, **given),
            anat=replace(config.anat, atlases=(str(atlas),)),
            deconv=replace(config.deconv, fod_models=("csd",)),
        )
        plan = plan_series(series[0], changed)
        assert not plan.anat.undelivered
        return init_participant_wf(label="01", plans=[plan], config=changed)

    return make


def _paths(workflow):
    sinks = [node for node in workflow._get_all_nodes() if node.name.startswith("ds_")]
    return [path for node in sinks for path in node.inputs.paths.values()]


def test_streamlines_are_weighed_joined_to_regions_and_recognised(tracts):
    paths = _paths(tracts())
    assert len(paths) == len(set(paths))
    stem = "sub-01/ses-a/dwi/sub-01_ses-a_space-orig_model-csd"
    tracked = f"{stem}_track-probabilistic"
    tables = ("count", "meanlength", "meanafd", "weightsum", "nodes")
    assert {
        *(f"{tracked}_tractogram.{kind}" for kind in ("tck", "trx", "trk")),
        *(f"{tracked}_bundle-{label}_tractogram.tck" for label in ("CSTleft", "bundles")),
        *(f"{tracked}_desc-{what}_tractogram.tsv" for what in ("weights", "bundles", "profiles")),
        *(f"{tracked}_seg-Halves_desc-{what}_connectivity.tsv" for what in tables),
        *(
            f"{stem}_param-{what}_track-probabilistic_dwimap.nii.gz"
            for what in ("tdi", "ends", "meanlength")
        ),
        f"{stem}_param-tdi_track-probabilistic_res-high_dwimap.nii.gz",
    } <= set(paths)
    figures = "slabs.png", "connectomes.png", "bundles.png", "profiles.svg"
    names = {Path(path).name for path in paths}
    assert {f"sub-01_ses-a_desc-{name.replace('.', '_dwi.')}" for name in figures} <= names


def test_what_is_made_of_streamlines_can_be_left_out(tracts):
    workflow = tracts(streamline_weights="none", model_bundles=None)
    assert not any("bundle" in path or "profiles" in path for path in _paths(workflow))
    steps = [name for name in workflow.list_node_names() if "weigh" in name and "tract" in name]
    assert not steps  # the sink of streamlines takes away weights of others


def test_the_methods_tell_how_streamlines_were_tracked_and_weighed(tracts):
    life = tracts(tracking_method="ptt", n_streamlines=700, model_bundles=None).visit_desc()
    assert "700 streamlines were asked for and tracked by parallel transport [@ptt]" in life
    assert "They were weighted by LiFE" in life
    assert "within 4 mm" in life
    assert "@recobundles" not in life
    none = tracts(streamline_weights="none", seeds_per_voxel=2, tracking_method="deterministic")
    text = none.visit_desc()
    assert "from 2 seeds in each voxel" in text
    assert "They were not weighted" in text
    assert {"eudx", "recobundles", "afq"} <= set(cited_keys(text)) <= set(bibliography())


def test_denoising_can_be_switched_off(build):
    names = _names(build(preproc={"denoise_method": "none"}))
    assert not any("denois" in name for name in names)


@pytest.mark.parametrize(
    ("setting", "step"),
    [
        ({"hmc": "none"}, "correct_motion"),
        ({"bias_correction": "none"}, "correct_bias"),
    ],
)
def test_each_correction_can_be_switched_off(config, series, setting, step):
    def steps(preproc):
        changed = replace(config, preproc=preproc)
        plan = plan_series(series[0], changed)
        workflow = init_participant_wf(label="01", plans=[plan], config=changed)
        return {name.split(".")[-1] for name in _names(workflow)}

    assert step not in steps(replace(config.preproc, **setting))
    assert step in steps(config.preproc)


def test_ringing_is_removed_if_it_can_be_or_if_asked_for(config, series):
    def is_unrung(method):
        changed = replace(config, preproc=replace(config.preproc, unringing_method=method))
        plan = plan_series(series[0], changed)
        names = _names(init_participant_wf(label="01", plans=[plan], config=changed))
        return any(name.endswith("unring_dwi") for name in names), plan.ringing

    assert is_unrung("subvoxel-shifts") == (True, "removed")
    assert is_unrung("none") == (False, "not removed: --unringing-method is none")
    unrung, reason = is_unrung("auto")  # six voxels are too few
    assert not unrung
    assert "6 voxels wide" in reason


@pytest.mark.parametrize(
    ("method", "done"),
    [
        ("auto", "not removed, because partial Fourier sampling (0.75 of k-space)"),
        ("subvoxel-shifts", "removed, along the phase axis only in part: 0.75 of k-space"),
    ],
)
def test_the_log_tells_what_partial_fourier_sampling_does(config, series, caplog, method, done):
    caplog.set_level("INFO")
    (run,) = series[0].runs
    run = replace(run, metadata=run.metadata | {"PartialFourier": 0.75})
    asked = replace(config, preproc=replace(config.preproc, unringing_method=method))
    plan_series(replace(series[0], runs=(run,)), asked)
    assert f"ringing is {done}" in caplog.text


def test_nothing_is_resampled_where_nothing_moves_it(config, series):
    still = replace(config.preproc, hmc="none", sdc="none")
    plan = plan_series(series[0], replace(config, preproc=still))
    workflow = init_participant_wf(label="01", plans=[plan], config=replace(config, preproc=still))
    assert not any(name.endswith("resample_dwi") for name in _names(workflow))


def test_the_methods_say_undone_only_where_something_was(config, series):
    def methods(**settings):
        changed = replace(config, preproc=replace(config.preproc, **settings))
        plan = plan_series(series[0], changed)
        return init_participant_wf(label="01", plans=[plan], config=changed).visit_desc()

    finer, undone = "to isotropic voxels of 1.5 mm", "were undone in one interpolation"
    resized = methods(hmc="none", sdc="none", output_resolution=1.5)
    assert finer in resized
    assert undone not in resized
    assert undone in methods()
    assert finer not in methods()
    both = methods(output_resolution=1.5)
    assert finer in both
    assert undone in both


def test_distortion_is_corrected_if_there_is_an_opposite_image(config, series):
    (run,) = series[0].runs
    along, against = (
        replace(run, phase_encoding=PhaseEncodingFields(direction, 0.05))
        for direction in ("j", "j-")
    )
    pair = replace(series[0], runs=(along,), reverse_phase_runs=(against,))
    assert plan_series(series[0], config).geometry.sdc == "none"
    plan = plan_series(pair, config)
    assert plan.geometry.sdc == "reverse-phase"
    names = _names(init_participant_wf(label="01", plans=[plan], config=config))
    assert {"estimate_field", "ds_fieldmap", "plot_distortion"} <= {n.split(".")[-1] for n in names}
    asked = replace(config, preproc=replace(config.preproc, sdc="reverse-phase"))
    with pytest.raises(BidsDataError, match="--sdc reverse-phase: the distortion of sub-01"):
        plan_series(series[0], asked)


def test_the_page_names_the_phase_encoding_of_all_runs(config, series):
    (run,) = series[0].runs
    facts = describe_series(plan_series(series[0], config), config.preproc)
    assert facts["Phase encoding"] == "not known"
    runs = tuple(
        replace(run, phase_encoding=PhaseEncodingFields(direction, 0.05))
        for direction in ("j-", "j", "j")
    )
    facts = describe_series(plan_series(replace(series[0], runs=runs), config), config.preproc)
    assert facts["Phase encoding"] == "j-, j"


def test_the_page_says_that_a_t1w_image_was_passed_over(config, series):
    skipped = replace(config, anat=replace(config.anat, skip_anat=True))
    plan = plan_series(replace(series[0], t1w_file=Path("sub-01_T1w.nii.gz")), skipped)
    facts = describe_series(plan, config.preproc)
    assert facts["T1w image"] == "sub-01_T1w.nii.gz, not used: --skip-anat"


def test_who_has_only_a_phase_difference_is_told_so(config, series, caplog):
    (run,) = series[0].runs
    along, against = (
        replace(run, phase_encoding=PhaseEncodingFields(direction, 0.05))
        for direction in ("j", "j-")
    )
    file = Path("sub-01_phasediff.nii.gz")
    only = replace(series[0], runs=(along,), other_fieldmaps=(file,))
    facts = describe_series(plan_series(only, config), config.preproc)
    for text in (caplog.text, facts["Distortion"]):
        assert "sub-01_phasediff.nii.gz: found in fmap/ and not used" in text
        assert "Needed is a run or an fmap/*_epi image of opposite phase encoding" in text
    caplog.clear()
    both = replace(only, reverse_phase_runs=(against,))
    assert plan_series(both, config).geometry.sdc == "reverse-phase"
    still = replace(config, preproc=replace(config.preproc, sdc="none"))
    assert plan_series(only, still).geometry.reason == "--sdc none was asked for"
    assert "phasediff" not in caplog.text
    asked = replace(config, preproc=replace(config.preproc, sdc="reverse-phase"))
    with pytest.raises(BidsDataError, match=r"phasediff.*not supported"):
        plan_series(only, asked)


def test_an_unknown_readout_time_is_the_same_for_all_images(config, series):
    (run,) = series[0].runs
    along = replace(run, phase_encoding=PhaseEncodingFields("j", None))
    against = replace(run, phase_encoding=PhaseEncodingFields("j-", 0.03))
    pair = replace(series[0], runs=(along,), reverse_phase_runs=(against,))
    geometry = plan_series(pair, config).geometry
    times = {encoding[2] for encoding in geometry.encodings}
    assert times == {geometry.reverse_images[0].encoding[2]}
    assert times != {0.0}


def test_a_preprocessed_series_is_taken_as_it_is(config, tmp_path):
    phantom = make_phantom((6, 6, 6), 6.0, shells={0: 1, 1000: 12})
    write_qsiprep_tree(phantom, tmp_path / "qsiprep")
    execution = replace(config.execution, derivatives={"qsiprep": tmp_path / "qsiprep"})
    changed = replace(config, execution=execution)
    (one,) = open_source(changed, ["01"]).series_of("01", changed, {})
    plan = plan_series(one, changed)
    workflow = init_participant_wf(label="01", plans=[plan], config=changed)
    leaves = {name.split(".")[-1] for name in _names(workflow)}
    assert {"ingest", "ds_mask", "fit_fodf"} <= leaves
    assert not {"ds_dwi", "denoise_dwi", "correct_motion", "resample_dwi"} & leaves
    fod = workflow.get_node("dwi_wf.csd_derivatives_wf.ds_fod").inputs.paths["WM"]
    assert "space-ACPC" in fod
    described = workflow.get_node("dwi_wf.csd_derivatives_wf.describe_model").inputs
    assert any(uri.startswith("bids:qsiprep:sub-01/dwi/") for uri in described.sources)


def test_a_t1w_image_is_brought_to_the_series_unless_it_is_passed_over(config, series, tmp_path):
    t1w_file = config.execution.bids_dir / "sub-01_T1w.nii.gz"
    head = np.arange(144, dtype=np.float32).reshape(6, 6, 4)
    nib.Nifti1Image(head, np.eye(4)).to_filename(t1w_file)
    with_t1w = replace(series[0], t1w_file=t1w_file)
    anat = replace(config.anat, anat_template=str(t1w_file))
    for skipped in (False, True):
        changed = replace(config, anat=replace(anat, skip_anat=skipped))
        plan = plan_series(with_t1w, changed)
        names = _names(init_participant_wf(label="01", plans=[plan], config=changed))
        assert any("anat_wf" in name for name in names) != skipped


def test_given_responses_are_read_instead_of_estimated(build, tmp_path):
    (tmp_path / "wm.txt").write_text("1\n")
    names = _names(build(response={"files": {"WM": tmp_path / "wm.txt"}}))
    assert any(name.endswith("load_response") for name in names)
    assert not any(name.endswith("estimate_response") for name in names)


def test_models_to_compare_are_fitted_apart_and_only_the_first_is_tracked(build):
    workflow = build(deconv={"fod_models": ("csd", "shd-tv", "shd")})
    fits = [name for name in _names(workflow) if name.endswith("fit_fodf")]
    assert len(fits) == 6
    flat = workflow._create_flat_graph()
    for node in flat.nodes():
        if node.name == "track_streamlines":
            fitted = {n.fullname.split(".")[-2] for n in nx.ancestors(flat, node)}
            assert "csd_wf" in fitted
            assert not {"shd_wf", "shdtv_wf"} & fitted


def test_only_networks_save_weights_and_resume_from_checkpoints(build):
    workflow = build(deconv={"fod_models": ("shd-tv", "csd")})
    weights = [name for name in _names(workflow) if name.endswith("ds_weights")]
    assert {name.split(".")[1] for name in weights} == {
        "shdtv_derivatives_wf",
        "tractogram_derivatives_wf",  # of streamlines
    }
    fit = workflow.get_node("dwi_ses_a_wf.shdtv_wf.fit_fodf")
    assert fit.inputs.checkpoint_dir.endswith("work/checkpoints/sub-01_ses-a/shdtv")


def test_a_fit_on_a_card_takes_one_slot_of_one_card(build):
    workflow = build(
        deconv={"fod_models": ("shd-tv", "csd"), "device": "cuda"},
        resources={"nprocs": 8, "omp_nthreads": 8, "gpus": 2},
    )
    on_card = workflow.get_node("dwi_ses_a_wf.shdtv_wf.fit_fodf")
    assert on_card.is_gpu_node()
    assert on_card.n_procs == 1
    assert on_card.inputs.n_threads == 8
    assert not workflow.get_node("dwi_ses_a_wf.csd_wf.fit_fodf").is_gpu_node()


def test_memory_grows_with_the_image(series, config):
    plan = plan_series(series[0], config)
    larger = replace(plan, shape=(128, 128, 78, 65))
    needs = [
        sum(
            node.mem_gb
            for node in init_participant_wf(label="01", plans=[p], config=config)._get_all_nodes()
        )
        for p in (plan, larger)
    ]
    assert needs[1] > needs[0] + 5


def test_memory_grows_with_the_voxels_of_the_output_where_steps_work_on_them(series, config):
    def needs(resolution):
        preproc = replace(config.preproc, output_resolution=resolution)
        changed = replace(config, preproc=preproc)
        plan = replace(plan_series(series[0], changed), shape=(96, 96, 64, 65))
        workflow = init_participant_wf(label="01", plans=[plan], config=changed)
        return {node.name: node.mem_gb for node in workflow._get_all_nodes()}

    as_acquired, finer = needs(None), needs(1.0)  # of 2 mm: 8 times as many voxels
    for name in ("denoise_dwi", "correct_motion", "mask_raw", "plot_denoising"):
        assert finer[name] == as_acquired[name]
    series_gb = 4e-9 * 96 * 96 * 64 * 65
    assert finer["resample_dwi"] - as_acquired["resample_dwi"] == pytest.approx(7 * series_gb)
    for name, copies in (("correct_bias", 3), ("measure_quality", 3), ("export_dwi", 2)):
        assert finer[name] - as_acquired[name] == pytest.approx(copies * 7 * series_gb)
    for name in ("estimate_response", "plot_fodf"):
        assert finer[name] > 3 * as_acquired[name]
    assert finer["fit_fodf"] - as_acquired["fit_fodf"] > 3 * 7 * series_gb  # beside the network


def test_all_outputs_have_their_place_before_anything_runs(series, config):
    execution = config.execution
    target = Target(series[0], {"raw": execution.bids_dir}, execution.output_dir)
    folder = "sub-01/ses-a/dwi/sub-01_ses-a_space-orig"
    assert target.dwi_path == f"{folder}_desc-preproc_dwi.nii.gz"
    assert target.model_path("shd-tv", "fod", label="WM") == (
        f"{folder}_model-shdtv_param-fod_label-WM_dwimap.nii.gz"
    )
    assert target.source_uris == ["bids:raw:sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz"]


def test_no_two_nodes_write_the_same_file(build):
    paths = _paths(build(deconv={"fod_models": ("shd-tv", "csd")}))
    assert len(paths) == len(set(paths))


def test_every_step_that_has_inputs_describes_itself(build):
    text = build(deconv={"fod_models": ("shd-tv", "csd")}).visit_desc()
    for words in ("@mppca", "@shdtv", "@csd", "@dhollander2016", "Tractography"):
        assert words in text


@pytest.mark.parametrize("model", FOD_MODELS)
def test_every_model_has_its_methods_its_name_and_its_sidecar(model, build):
    label = model_label(model)
    cited = cited_keys(build(deconv={"fod_models": (model,)}).visit_desc())
    assert {"shdtv", "esd", "rtesd", "csd", "msmtcsd", "rumba"} & set(cited)
    assert set(cited) <= set(bibliography())
    assert model_name(label) != label
    assert label in MODEL_DESCRIPTIONS


def test_the_default_model_for_comparison_follows_the_shells():
    assert choose_models((), n_shell=2) == ("shd-tv", "csd")
    assert choose_models((), n_shell=3) == ("shd-tv", "msmt-csd")
    assert choose_models(("csd",), n_shell=3) == ("csd",)
    with pytest.raises(ConfigError, match="msmt-csd needs at least two shells"):
        choose_models(("msmt-csd",), n_shell=2)


def test_a_gradient_table_that_is_too_short_is_refused_before_anything_runs(series, config):
    bval_file = series[0].runs[0].bval_file
    bval_file.write_text(" ".join(bval_file.read_text().split()[:-1]) + "\n")
    with pytest.raises(GradientTableError, match="12"):
        plan_series(series[0], config)


def test_a_run_needs_no_b0_of_its_own(config, make_skeleton):
    bids_dir = make_skeleton({"02": ["sub-02_run-1", "sub-02_run-2"]})
    bval_file = bids_dir / "sub-02/dwi/sub-02_run-2_dwi.bval"
    bval_file.write_text(" ".join(["1000"] * 13) + "\n")
    bvec_file = bval_file.with_suffix(".bvec")
    bvec_file.write_text(bvec_file.read_text().replace("0.000000", "0.577350"))
    (both,) = collect_series(open_layout(bids_dir, participant_labels=["02"]), "02")
    assert plan_series(both, config).shape[3] == 26
    with pytest.raises(GradientTableError, match=r"sub-02_run-2_dwi.nii.gz has no b=0 volume"):
        plan_series(replace(both, runs=both.runs[1:]), config)


def test_a_series_of_one_volume_is_refused_before_anything_runs(series, config):
    file = series[0].runs[0].dwi_file
    nib.Nifti1Image(np.ones((6, 6, 4), dtype=np.float32), np.eye(4)).to_filename(file)
    with pytest.raises(ImageError, match="3-D"):
        plan_series(series[0], config)


def test_settings_of_the_response_reach_their_node(build, tmp_path):
    file = tmp_path / "wm.txt"
    file.write_text("1\n")
    assert ResponseConfig(files={"WM": file}).files == {"WM": Path(file)}
    assert DeconvConfig().lmax == 8
    node = build(deconv={"lmax": 6}).get_node("dwi_ses_a_wf.csd_wf.fit_fodf")
    assert node.inputs.lmax == 6


def test_a_changed_seed_image_or_model_bundle_is_noticed(build, tmp_path):
    seeds, model = tmp_path / "seeds.nii.gz", tmp_path / "models" / "AF.tck"
    model.parent.mkdir()
    seen = []
    for content in (b"first", b"something else"):
        seeds.write_bytes(content)
        model.write_bytes(content)
        workflow = build(tracking={"seed_from": str(seeds), "model_bundles": model.parent})
        stage = "dwi_ses_a_wf.tractography_wf"
        nodes = [f"{stage}.track_streamlines", f"{stage}.recognise_bundles"]
        seen.append([workflow.get_node(node).inputs.get_hashval()[1] for node in nodes])
    assert not set(seen[0]) & set(seen[1])
