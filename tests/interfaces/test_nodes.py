"""Nodes load, call and save: what goes in as files comes out as files."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.dwi.gradients import read_mrtrix_gradients
from shd_bids.errors import ResponseError
from shd_bids.interfaces.deconvolution import FitFodf
from shd_bids.interfaces.fodf_figures import PlotResponse
from shd_bids.interfaces.judgement import WriteQuality, WriteSliceQuality
from shd_bids.interfaces.model_quality import MeasureModel
from shd_bids.interfaces.nifti import read_array, read_mask, write_array
from shd_bids.interfaces.preproc import DenoiseDwi, EstimateMask, MergeRuns
from shd_bids.interfaces.quality import ExportDwi, MeasureQuality, MeasureRaw
from shd_bids.interfaces.response import EstimateResponse, LoadResponse
from shd_bids.interfaces.tractography import ComputeMaps, FindPeaks, TrackStreamlines

SHELLS = {"b0_threshold": 100.0, "shell_tolerance": 80.0}


def _outputs(node, folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    return node.run(cwd=str(folder)).outputs


@pytest.fixture(scope="module")
def merged(tiny_phantom_dir, tmp_path_factory):
    """Join the phantom's only run to itself, as if it were two runs."""
    stem = tiny_phantom_dir / "sub-01/dwi/sub-01_dwi"
    node = MergeRuns(
        dwi_files=[f"{stem}.nii.gz"] * 2,
        bval_files=[f"{stem}.bval"] * 2,
        bvec_files=[f"{stem}.bvec"] * 2,
        phases=["j-"] * 2,
        b0_threshold=100.0,
    )
    return _outputs(node, tmp_path_factory.mktemp("merge"))


@pytest.fixture(scope="module")
def series(merged):
    return {"dwi_file": merged.dwi_file, "gradients_file": merged.gradients_file} | SHELLS


@pytest.fixture(scope="module")
def masked(series, tmp_path_factory):
    return _outputs(EstimateMask(method="median-otsu", **series), tmp_path_factory.mktemp("mask"))


@pytest.fixture(scope="module")
def responses(series, masked, tmp_path_factory):
    node = EstimateResponse(mask_file=masked.mask_file, **series)
    return _outputs(node, tmp_path_factory.mktemp("response"))


@pytest.fixture(scope="module")
def fitted(series, masked, responses, tmp_path_factory):
    node = FitFodf(
        model="csd",
        lmax=4,
        mask_file=masked.mask_file,
        response_files=responses.response_files,
        **series,
    )
    return _outputs(node, tmp_path_factory.mktemp("fit"))


def test_runs_are_joined_in_their_order_with_their_gradients(merged, tiny_phantom_dir):
    one = nib.load(tiny_phantom_dir / "sub-01/dwi/sub-01_dwi.nii.gz")
    both = nib.load(merged.dwi_file)
    assert both.shape[3] == 2 * one.shape[3]
    assert both.get_data_dtype() == np.float32
    np.testing.assert_allclose(both.affine, one.affine)
    np.testing.assert_allclose(both.get_fdata()[..., one.shape[3] :], one.get_fdata(), rtol=1e-6)
    assert read_mrtrix_gradients(Path(merged.gradients_file)).n_volume == both.shape[3]


@pytest.mark.parametrize("method", ["mppca", "patch2self"])
def test_denoising_keeps_grid_and_threads_do_not_change_the_hash(
    merged, tiny_phantom_dir, tmp_path, method
):
    files = {
        "dwi_file": str(tiny_phantom_dir / "sub-01/dwi/sub-01_dwi.nii.gz"),
        "gradients_file": str(tmp_path / "dwi.b"),
    }
    rows = Path(merged.gradients_file).read_text().splitlines(keepends=True)
    Path(files["gradients_file"]).write_text("".join(rows[: len(rows) // 2]))
    nodes = [DenoiseDwi(method=method, n_threads=n, **files, **SHELLS) for n in (1, 4)]
    assert nodes[0].inputs.get_hashval()[1] == nodes[1].inputs.get_hashval()[1]
    out = _outputs(nodes[0], tmp_path / "denoise")
    assert nib.load(out.dwi_file).shape == nib.load(files["dwi_file"]).shape
    assert read_array(out.sigma_file).max() > 0


def test_the_mask_covers_the_phantom(masked, tiny_phantom_dir):
    mask = read_mask(masked.mask_file)
    assert mask.dtype == bool
    assert 0.1 < mask.mean() < 0.9
    assert read_array(masked.b0_file)[mask].mean() > 100


def test_without_masking_every_voxel_with_signal_is_taken(series, tmp_path):
    out = _outputs(EstimateMask(method="none", **series), tmp_path / "mask")
    assert read_mask(out.mask_file).all()


def test_quality_is_one_row_and_confounds_one_row_per_volume(series, masked, tmp_path):
    raw = _outputs(MeasureRaw(mask_file=masked.mask_file, **series), tmp_path / "raw")
    node = MeasureQuality(mask_file=masked.mask_file, raw_measures=raw.measures, **series)
    out = _outputs(node, tmp_path / "quality")
    node = WriteQuality(measures=out.measures, gradient_fields={}, t1_dice_distance=0.25)
    written = _outputs(node, tmp_path / "written")
    header, row = Path(written.qc_file).read_text().splitlines()
    table = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert float(table["t1_dice_distance"]) == 0.25
    assert set(table) < set(written.quality_fields)
    assert written.quality_fields["Judgements"]["t1_dice_distance"]["Verdict"] == "poor"
    assert "alert-danger" in Path(written.judgement_files["judgement"]).read_text()
    assert len(Path(out.confounds_file).read_text().splitlines()) == 1 + 2 * 19


def test_a_model_is_summed_up_in_one_row(masked, fitted, tmp_path):
    peaks = _outputs(FindPeaks(mask_file=masked.mask_file, fod_files=fitted.fod_files), tmp_path)
    maps = _outputs(
        ComputeMaps(
            mask_file=masked.mask_file,
            fod_files=fitted.fod_files,
            rmse_file=fitted.rmse_file,
            peaks_file=peaks.peaks_file,
        ),
        tmp_path / "maps",
    )
    history_file = tmp_path / "history.json"
    history_file.write_text('{"loss": {"total": [0.9, 0.3], "start": [0.8, 0.6]}}')
    node = MeasureModel(
        map_files=maps.map_files,
        fraction_files=fitted.fraction_files,
        mask_file=masked.mask_file,
        summary_file=fitted.summary_file,
        history_file=str(history_file),
    )
    out = _outputs(node, tmp_path / "measured")
    header, row = Path(out.qc_file).read_text().splitlines()
    table = dict(zip(header.split("\t"), map(float, row.split("\t")), strict=True))
    assert set(table) == set(out.quality_fields)
    mask = read_mask(masked.mask_file)
    residual = 100 * np.median(read_array(fitted.rmse_file)[mask])
    assert table["residual_median"] == pytest.approx(residual, rel=1e-4)
    white = read_array(fitted.fraction_files["WM"])[mask].mean()
    assert table["fraction_WM"] == pytest.approx(white, rel=1e-4)
    assert table["mean_nufo"] > 0
    assert table["training_loss"] == 0.3
    assert table["loss_over_start"] == 0.5
    assert table["fit_seconds"] > 0


def test_a_t1w_mask_that_was_taken_over_from_the_series_is_not_judged(tmp_path):
    node = WriteQuality(
        measures={}, gradient_fields={}, t1_dice_distance=0.25, t1w_mask_method="dwi"
    )
    judged = _outputs(node, tmp_path / "written").quality_fields["Judgements"]
    assert judged["t1_dice_distance"]["Verdict"] == "not measured"


def test_slices_are_written_as_qsiprep_does_a_row_for_each_volume(tmp_path):
    table = tmp_path / "outliers.tsv"
    table.write_text(
        "volume\tslice\tz_score\tis_outlier\n0\t0\t0.51\t0\n0\t1\tn/a\t0\n"
        "1\t0\t-7.25\t1\n1\t1\tn/a\t0\n"
    )
    node = WriteSliceQuality(outliers_file=str(table), sources=["bids:raw:dwi.nii.gz"])
    written = json.loads(Path(_outputs(node, tmp_path / "slices").out_file).read_text())
    assert written["carpetplot"] == [[0.51, None], [-7.25, None]]
    assert np.isnan(np.array(written["carpetplot"], dtype=float)).sum() == 2
    assert written["Outliers"] == [{"volume": 1, "slice": 0, "z_score": -7.25}]
    assert written["Sources"]


def test_confounds_that_came_with_a_series_are_taken_over(series, masked, tmp_path):
    given = tmp_path / "given.tsv"
    given.write_text("framewise_displacement\nn/a\n0.2\n")
    node = MeasureQuality(mask_file=masked.mask_file, given_confounds_file=str(given), **series)
    out = _outputs(node, tmp_path / "quality")
    assert out.confounds_file == str(given)
    assert (out.measures["mean_fd"], out.measures["max_fd"]) == (0.2, 0.2)


def test_exported_gradients_are_those_of_the_input(merged, tiny_phantom_dir, tmp_path):
    node = ExportDwi(dwi_file=merged.dwi_file, gradients_file=merged.gradients_file)
    files = _outputs(node, tmp_path / "export").out_files
    given = np.loadtxt(tiny_phantom_dir / "sub-01/dwi/sub-01_dwi.bvec")
    written = np.loadtxt(files["bvec"])[:, : given.shape[1]]
    np.testing.assert_allclose(written, given, atol=1e-4)


def test_responses_of_two_tissues_are_estimated_from_one_shell(responses):
    assert set(responses.response_files) == {"WM", "CSF"}
    assert responses.voxel_counts["WM"] > 0
    assert set(np.unique(read_array(responses.voxels_file))) <= {0, 1, 3}


def test_given_responses_come_out_as_they_went_in(series, responses, tmp_path):
    node = LoadResponse(files=dict(responses.response_files), **series)
    out = _outputs(node, tmp_path / "load")
    for tissue, file in out.response_files.items():
        given = np.loadtxt(responses.response_files[tissue])
        np.testing.assert_allclose(np.loadtxt(file), given)


@pytest.mark.parametrize(("count", "said"), [(3, "3 (too few to rely on)"), (300, "300")])
def test_a_response_from_few_voxels_is_doubted_on_the_page(
    series, masked, responses, tmp_path, count, said
):
    node = PlotResponse(
        gradients_file=series["gradients_file"],
        response_files=responses.response_files,
        mask_file=masked.mask_file,
        b0_file=masked.b0_file,
        voxel_counts={"CSF": count},
        method=responses.method,
        tissues_reason="two shells",
        **SHELLS,
    )
    page = Path(_outputs(node, tmp_path / "plot").out_files["tissues"]).read_text()
    assert f"<td>{said}</td>" in page


def test_given_responses_are_brought_to_the_brightness_of_the_scan(
    series, masked, responses, tmp_path
):
    files = {}
    for tissue, file in responses.response_files.items():
        files[tissue] = str(tmp_path / f"{tissue}.txt")
        shells = Path(file).read_text().splitlines()[0].removeprefix("# ")
        np.savetxt(files[tissue], 0.5 * np.loadtxt(file, ndmin=2), header=shells)
    node = LoadResponse(files=files, match_intensity=True, mask_file=masked.mask_file, **series)
    loaded = _outputs(node, tmp_path / "load")
    assert "multiplied by 2, the intensity of this scan" in loaded.method
    for tissue, file in responses.response_files.items():
        own, matched = np.loadtxt(file), np.loadtxt(loaded.response_files[tissue])
        np.testing.assert_allclose(matched, own, rtol=1e-6)


def test_a_scan_whose_brightness_cannot_be_told_says_what_to_try(series, responses, tmp_path):
    image = nib.load(series["dwi_file"])
    mask_file = tmp_path / "mask.nii.gz"
    one = np.zeros(image.shape[:3], dtype=np.uint8)
    one[9, 9, 7] = 1
    nib.save(nib.Nifti1Image(one, image.affine), mask_file)
    files = dict(responses.response_files)
    node = LoadResponse(files=files, match_intensity=True, mask_file=str(mask_file), **series)
    with pytest.raises(ResponseError, match="Give --response-intensity as-given"):
        _outputs(node, tmp_path / "load")


def test_more_tissues_than_shells_are_refused(series, responses, tmp_path):
    files = dict(responses.response_files)
    with pytest.raises(ResponseError, match=r"gives 3 tissues, but 2 shells"):
        _outputs(LoadResponse(files=files | {"GM": files["CSF"]}, **series), tmp_path / "load")


def test_a_fit_leaves_harmonics_fractions_residual_and_a_summary(fitted, masked):
    fodf = read_array(fitted.fod_files["WM"])
    assert fodf.shape[3] == 15
    assert not fodf[~read_mask(masked.mask_file)].any()
    assert read_array(fitted.rmse_file).shape == fodf.shape[:3]
    assert json.loads(Path(fitted.summary_file).read_text())["model"] == "csd"
    assert "WM" in fitted.fraction_files


def test_another_setting_never_meets_the_checkpoints_of_the_first(series, masked, responses):
    given = {"mask_file": masked.mask_file, "response_files": responses.response_files, **series}
    folders = {
        FitFodf(model="shd", lmax=8, checkpoint_dir="/c", **given | changed)._job(Path("/o"))[
            "checkpoint_dir"
        ]
        for changed in ({}, {"random_seed": 1}, {"tv_weight": 0.1}, {"n_threads": 3})
    }
    assert len(folders) == 3  # the number of threads changes nothing


def test_maps_and_streamlines_follow_from_a_fit(fitted, masked, tmp_path):
    given = {"fod_files": fitted.fod_files, "mask_file": masked.mask_file}
    peaks = _outputs(FindPeaks(**given), tmp_path / "peaks").peaks_file
    node = ComputeMaps(peaks_file=peaks, rmse_file=fitted.rmse_file, **given)
    maps = _outputs(node, tmp_path / "maps").map_files
    assert set(maps) == {"peaks", "rmse", "afd", "nufo", "gfa", "dec"}
    rules = {"max_angle_deg": 45.0, "min_length_mm": 20.0, "max_length_mm": 250.0}
    node = TrackStreamlines(
        fraction_files=fitted.fraction_files, n_streamlines=20, method="probabilistic",
        seed_from="white-matter", valid_ends="not-csf", **rules, **given,
    )  # fmt: skip
    out = _outputs(node, tmp_path / "track")
    tractogram = nib.streamlines.load(out.tck_file)
    assert len(tractogram.streamlines) == out.n_streamlines == 20
    assert float(tractogram.header["step_size"]) == out.settings["StepMillimetres"] > 0


def test_a_mask_is_stored_in_bytes_and_a_map_in_floats(tmp_path, merged):
    shape = nib.load(merged.dwi_file).shape[:3]
    mask_file = write_array(np.ones(shape, dtype=bool), merged.dwi_file, tmp_path / "mask.nii.gz")
    map_file = write_array(np.ones(shape), merged.dwi_file, tmp_path / "map.nii.gz")
    assert nib.load(mask_file).get_data_dtype() == np.uint8
    assert nib.load(map_file).get_data_dtype() == np.float32
