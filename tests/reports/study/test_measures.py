"""The measures of a study come from small files, and from all of them."""

import json

import pytest

from shd_bids.bids.study import read_study
from shd_bids.dwi.judgement import Verdict
from shd_bids.reports.study.measures import gather_measures, measure_names
from shd_bids.testing.study import write_study

STEM = "sub-0001_space-orig"


@pytest.fixture
def folder(tmp_path):
    return write_study(tmp_path, 1) / "sub-0001/dwi"


def _row(folder, added=None):
    (row,) = gather_measures(read_study(folder.parents[1]), added)
    return row


def _change(file, **values):
    names, numbers = (line.split("\t") for line in file.read_text().splitlines())
    row = dict(zip(names, numbers, strict=True)) | {k: str(v) for k, v in values.items()}
    file.write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")


def test_all_columns_of_the_series_and_of_its_models_are_there(folder):
    _change(folder / "sub-0001_desc-image_qc.tsv", mean_fd=0.31, mine=7)
    _change(folder / f"{STEM}_model-csd_desc-model_qc.tsv", residual_median=4.5)
    measures = _row(folder).measures
    assert measures["mean_fd"] == 0.31
    assert measures["mine"] == 7
    assert measures["residual_median_csd"] == 4.5
    assert {"training_loss_shdtv", "fraction_GM_csd", "fit_seconds_shdtv"} <= set(measures)


def test_what_is_not_available_is_no_measure(folder):
    _change(folder / "sub-0001_desc-image_qc.tsv", mean_fd="n/a")
    assert "mean_fd" not in _row(folder).measures


def test_responses_are_summed_up(folder):
    text = "# Shells: 0,1000\n3544.907702 0 0\n2000 -1500 0\n"  # 1000 at b=0, in MRtrix3's scale
    (folder / f"{STEM}_param-response_label-WM_dwimap.txt").write_text(text)
    sidecar = {"Settings": {"NumberOfVoxels": 321}}
    (folder / f"{STEM}_param-response_label-WM_dwimap.json").write_text(json.dumps(sidecar))
    measures = _row(folder).measures
    assert measures["response_b0_WM"] == pytest.approx(1000)
    assert measures["response_gfa"] == pytest.approx(0.6)
    assert measures["response_voxels_WM"] == 321


def test_streamlines_and_joined_regions_are_counted_by_the_sidecars(folder):
    stem = f"{STEM}_model-shdtv_track-probabilistic"
    fields = {"StreamlineCount": 800, "AssignedStreamlineCount": 600}
    (folder / f"{stem}_tractogram.json").write_text(json.dumps(fields))
    (folder / f"{stem}_seg-Halves_desc-count_connectivity.json").write_text(json.dumps(fields))
    measures = _row(folder).measures
    assert measures["streamlines"] == 800
    assert measures["connectome_assigned_Halves"] == 75


def test_the_worst_verdict_is_that_of_the_series(folder):
    assert _row(folder).verdict is Verdict.GOOD
    _change(folder / "sub-0001_desc-image_qc.tsv", mean_fd=0.7)
    assert _row(folder).verdict is Verdict.LOOK
    _change(folder / "sub-0001_desc-image_qc.tsv", max_fd=9)
    row = _row(folder)
    assert row.verdict is Verdict.POOR
    assert row.verdict_on("mean_fd") is Verdict.LOOK


def test_a_measure_that_told_nothing_of_the_scan_is_not_judged_here_either(folder):
    _change(folder / "sub-0001_desc-image_qc.tsv", t1_dice_distance=0.9)
    assert _row(folder).verdict is Verdict.POOR
    said = {"Judgements": {"t1_dice_distance": {"Remark": "the mask was taken over"}}}
    (folder / "sub-0001_desc-image_qc.json").write_text(json.dumps(said))
    assert _row(folder).verdict is Verdict.GOOD


def test_shells_that_are_close_are_one_column_of_the_study(tmp_path):
    output_dir = write_study(tmp_path, 3)
    _only = output_dir / "sub-0002/dwi/sub-0002_desc-image_qc.tsv"
    _only.write_text(_only.read_text().replace("_b1000", "_b995").replace("_b2500", "_b2510"))
    rows = gather_measures(read_study(output_dir))
    assert len({row.acquisition for row in rows}) == 1
    assert rows[1].measures["num_volumes_b1000"] == 30
    assert not any("b995" in name for name in measure_names(rows))


def test_acquisitions_differ_by_label_or_by_shells(tmp_path):
    output_dir = write_study(tmp_path, 1, acquisitions=("multi", "single"))
    rows = gather_measures(read_study(output_dir))
    assert [row.acquisition for row in rows] == [
        "acq-multi, b = 0, 1000, 2500",
        "acq-single, b = 0, 1000",
    ]


@pytest.mark.parametrize("key", ["sub-0001"])
def test_measures_can_be_added_by_name(folder, key):
    assert _row(folder, {key: {"network_loss": 0.25}}).measures["network_loss"] == 0.25


def test_files_that_are_damaged_are_passed_over_with_a_warning(folder, caplog):
    (folder / "sub-0001_desc-image_qc.tsv").write_text("")
    (folder / "sub-0001_desc-image_qc.json").write_text("{")
    (folder / f"{STEM}_param-response_label-WM_dwimap.txt").write_text("no numbers\n")
    row = _row(folder)
    assert "mean_fd" not in row.measures
    assert "response_b0_WM" not in row.measures
    assert "residual_median_csd" in row.measures
    assert caplog.text.count("passed over") == 3
