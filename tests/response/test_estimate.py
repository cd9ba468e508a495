"""Estimated responses: equal to the truth of a phantom and to MRtrix3's."""

import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from shd_bids.dwi.gradients import GradientTable, read_fsl_gradients, write_mrtrix_gradients
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.errors import ResponseError
from shd_bids.response.estimate import ResponseEstimate, estimate_responses, tissues_for_protocol
from shd_bids.response.io import read_response
from shd_bids.testing.kernels import true_responses
from shd_bids.testing.phantom import Phantom, make_phantom

SHAPE = (28, 28, 22)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(SHAPE, 3.0, shells={0: 4, 1000: 24, 2500: 40})


def _estimate(phantom: Phantom, **changes) -> tuple[ResponseEstimate, Shells]:
    dwi = changes.get("dwi", phantom.dwi).astype(np.float32)
    table = GradientTable(phantom.bvals.astype(float), changes.get("bvecs", phantom.bvecs_ras))
    shells = cluster_shells(table.bvals)
    mask = phantom.truth.tissue.sum(axis=-1) > 0
    return estimate_responses(dwi, table, shells, mask), shells


def _assert_within_ten_percent(estimate: ResponseEstimate, expected: dict[str, np.ndarray]):
    for tissue, response in estimate.responses.items():
        found, wanted = response.coefficients, expected[tissue]
        floor = 0.01 * wanted[0, 0]  # what noise and neighbours leave of a vanishing signal
        np.testing.assert_allclose(found[:, 0], wanted[:, 0], 0.1, floor, err_msg=tissue)
        if tissue == "WM":
            np.testing.assert_allclose(found[1:, 1], wanted[1:, 1], rtol=0.1, err_msg="l=2")


def test_the_phantom_s_true_responses_are_found():
    clean = make_phantom(SHAPE, 3.0, shells={0: 4, 1000: 24, 2500: 40}, snr=200.0)
    estimate, shells = _estimate(clean)
    _assert_within_ten_percent(estimate, true_responses(shells.bvals, lmax=8))


def test_each_tissue_is_found_where_it_is(phantom: Phantom):
    estimate, _ = _estimate(phantom)
    for column, tissue in enumerate(("WM", "GM", "CSF")):
        assert phantom.truth.tissue[estimate.voxels[tissue], column].min() > 0.9


def test_white_matter_voxels_hold_one_fibre(phantom: Phantom):
    estimate, _ = _estimate(phantom)
    share = phantom.truth.fractions[estimate.voxels["WM"]]
    assert share[:, 0].mean() > 0.95


def test_turning_the_gradients_does_not_change_the_responses(phantom: Phantom):
    straight, _ = _estimate(phantom)
    turn = Rotation.from_euler("xyz", [20, -50, 70], degrees=True).as_matrix()
    turned, _ = _estimate(phantom, bvecs=phantom.bvecs_ras @ turn.T)
    for tissue, response in straight.responses.items():
        again = turned.responses[tissue].coefficients
        np.testing.assert_allclose(again, response.coefficients, rtol=1e-3, atol=1.0)


def test_a_scanner_s_gain_scales_the_responses(phantom: Phantom):
    once, _ = _estimate(phantom)
    twice, _ = _estimate(phantom, dwi=2.0 * phantom.dwi)
    for tissue, response in once.responses.items():
        again = twice.responses[tissue].coefficients
        np.testing.assert_allclose(again, 2.0 * response.coefficients, rtol=1e-4, atol=1e-2)


def test_tissues_follow_from_the_shells():
    assert tissues_for_protocol(cluster_shells(np.array([0.0] + [1000.0] * 30)))[0] == ("WM", "CSF")
    three, reason = tissues_for_protocol(
        cluster_shells(np.array([0.0] + [700.0] * 30 + [2500.0] * 30))
    )
    assert three == ("WM", "GM", "CSF")
    assert reason.startswith("3 shells (b=0 included)")


def test_a_mask_without_tissue_is_refused_with_advice(phantom: Phantom):
    table = GradientTable(phantom.bvals.astype(float), phantom.bvecs_ras)
    empty = np.zeros(SHAPE, dtype=bool)
    with pytest.raises(ResponseError, match=r"No usable voxels.*--response"):
        estimate_responses(
            phantom.dwi.astype(np.float32), table, cluster_shells(table.bvals), empty
        )


def test_water_alone_has_no_white_matter(phantom: Phantom):
    table = GradientTable(phantom.bvals.astype(float), phantom.bvecs_ras)
    dwi = np.broadcast_to(2800 * np.exp(-3e-3 * table.bvals), (8, 8, 8, len(table.bvals)))
    with pytest.raises(ResponseError, match=r"No WM voxels"):
        estimate_responses(
            dwi.astype(np.float32), table, cluster_shells(table.bvals), np.ones((8, 8, 8), bool)
        )


def _run_dhollander(
    folder: Path, dwi: np.ndarray, affine: np.ndarray, table: GradientTable, mask: np.ndarray
) -> None:
    nib.Nifti1Image(dwi, affine).to_filename(folder / "dwi.nii")
    nib.Nifti1Image(mask.astype(np.uint8), affine).to_filename(folder / "mask.nii")
    write_mrtrix_gradients(table, folder / "dwi.b")
    command = ["dwi2response", "dhollander", "-quiet", "-nthreads", "1", "-grad", "dwi.b"]
    files = ["dwi.nii", "WM.txt", "GM.txt", "CSF.txt", "-mask", "mask.nii"]
    subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)


@pytest.mark.needs_tool("dwi2response")
def test_mrtrix3_finds_the_same_responses_on_the_phantom(phantom: Phantom, tmp_path: Path):
    estimate, shells = _estimate(phantom)
    table = GradientTable(phantom.bvals.astype(float), phantom.bvecs_ras)
    mask = phantom.truth.tissue.sum(axis=-1) > 0
    _run_dhollander(tmp_path, phantom.dwi.astype(np.float32), phantom.affine, table, mask)
    theirs = {
        tissue: read_response(tmp_path / f"{tissue}.txt", tissue, shells.bvals).coefficients
        for tissue in estimate.responses
    }
    _assert_within_ten_percent(estimate, theirs)


@pytest.mark.slow
@pytest.mark.needs_tool("dwi2response")
def test_mrtrix3_finds_the_same_responses_in_a_real_brain(shared_data: Path, tmp_path: Path):
    stem = shared_data / "nlsam-invivo-1p8mm/sub-01/dwi/sub-01_dwi"
    image = nib.load(stem.with_suffix(".nii.gz"))
    table = read_fsl_gradients(
        stem.with_suffix(".bval"), stem.with_suffix(".bvec"), np.asarray(image.affine)
    )
    dwi = np.asarray(image.dataobj, dtype=np.float32)
    mask_command = ["dwi2mask", "-quiet", "-nthreads", "1", "-fslgrad"]
    files = [f"{stem}.bvec", f"{stem}.bval", f"{stem}.nii.gz", str(tmp_path / "brain.nii")]
    subprocess.run([*mask_command, *files], check=True)
    mask = np.asarray(nib.load(tmp_path / "brain.nii").dataobj) > 0
    shells = cluster_shells(table.bvals)
    estimate = estimate_responses(dwi, table, shells, mask)
    _run_dhollander(tmp_path, dwi, image.affine, table, mask)
    theirs = {
        tissue: read_response(tmp_path / f"{tissue}.txt", tissue, shells.bvals).coefficients
        for tissue in estimate.responses
    }
    _assert_within_ten_percent(estimate, theirs)
