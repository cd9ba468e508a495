"""CSD and MSMT-CSD: right directions, right scale, and MRtrix3's answers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from deconvolution.fibres import (
    AFFINES,
    BVALS,
    angles_deg,
    main_directions,
    make_scheme,
    scan_fibres,
    spread_directions,
)
from dipy.core.gradients import gradient_table
from dipy.data import default_sphere

from shd_bids.deconvolution.classical import fit_csd, fit_msmt_csd
from shd_bids.deconvolution.solution import UNIT_COEFFICIENT, FodfSolution
from shd_bids.dwi.gradients import (
    GradientTable,
    read_fsl_gradients,
    write_fsl_gradients,
    write_mrtrix_gradients,
)
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.errors import ResponseError
from shd_bids.response.io import Response, read_response
from shd_bids.sphere.harmonics import sh_basis

Fit = Callable[..., FodfSolution]


@pytest.fixture
def scheme() -> tuple[GradientTable, Shells, dict[str, Response]]:
    return make_scheme()


@pytest.mark.parametrize("fit", [fit_csd, fit_msmt_csd])
@pytest.mark.parametrize("orientation", AFFINES)
def test_a_fibre_is_found_along_its_world_direction(
    fit: Fit, orientation: str, scheme, tmp_path: Path
):
    world, shells, responses = scheme
    files = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
    write_fsl_gradients(world, AFFINES[orientation], *files)
    table = read_fsl_gradients(*files, AFFINES[orientation])
    fibres = spread_directions(7, 3)
    dwi = scan_fibres(fibres, world)
    solution = fit(dwi, table, shells, np.ones(dwi.shape[:3], bool), responses)
    assert angles_deg(main_directions(solution.fodf_sh), fibres).max() < 3.0


@pytest.mark.parametrize("fit", [fit_csd, fit_msmt_csd])
def test_a_smooth_fodf_comes_back_with_the_unit_coefficient(fit: Fit, scheme):
    """A non-negative fODF within lmax, here cos^8 about an axis, is recovered as it was."""
    table, shells, responses = scheme
    axis = np.array([0.0, 0.6, 0.8])
    sphere = default_sphere.subdivide(n=2).vertices
    weight = (sphere @ axis) ** 8
    signal = np.tensordot(weight / weight.sum(), scan_fibres(sphere, table), axes=1)
    solution = fit(signal[None], table, shells, np.ones((1, 1, 1), bool), responses)
    np.testing.assert_allclose(solution.fodf_sh[..., 0], UNIT_COEFFICIENT, rtol=0.01)
    amplitude = sh_basis(sphere, 8) @ solution.fodf_sh[0, 0, 0]
    expected = 9 * (sphere @ axis) ** 8 / (4 * np.pi)
    assert np.corrcoef(amplitude, expected)[0, 1] > 0.995
    assert solution.rmse.max() < 0.005


@pytest.mark.parametrize("tissue", ["GM", "CSF"])
def test_an_isotropic_tissue_alone_has_the_unit_coefficient(tissue: str, scheme):
    table, shells, responses = scheme
    signal = [responses[tissue].isotropic_signal(int(shell)) for shell in shells.index]
    dwi = np.array(signal).reshape(1, 1, 1, -1)
    solution = fit_msmt_csd(dwi, table, shells, np.ones((1, 1, 1), bool), responses)
    np.testing.assert_allclose(solution.tissue[tissue], UNIT_COEFFICIENT, rtol=1e-3)
    np.testing.assert_allclose(solution.fractions[tissue], 1.0, atol=1e-3)


def test_two_tissues_suffice_on_one_shell(scheme):
    table, shells, responses = scheme
    kept = np.flatnonzero(shells.index < 2)
    single = GradientTable(table.bvals[kept], table.bvecs_ras[kept])
    two = {
        tissue: Response(tissue, shells.bvals[:2], responses[tissue].coefficients[:2])
        for tissue in ("WM", "CSF")
    }
    water = two["CSF"].coefficients[shells.index[kept], 0] / np.sqrt(4 * np.pi)
    dwi = 0.5 * scan_fibres(np.array([[0.0, 0.6, 0.8]]), single) + 0.5 * water
    solution = fit_msmt_csd(
        dwi, single, cluster_shells(single.bvals), np.ones((1, 1, 1), bool), two
    )
    assert set(solution.tissue) == {"CSF"}
    np.testing.assert_allclose(solution.fractions["WM"], 0.5, atol=0.05)


def test_few_directions_leave_high_degrees_empty(scheme):
    table, shells, responses = scheme
    kept = np.flatnonzero((shells.index < 2) & (np.arange(93) < 15))  # 12 directions
    few = GradientTable(table.bvals[kept], spread_directions(15, 5) * (table.bvals[kept, None] > 0))
    white = {"WM": Response("WM", shells.bvals[:2], responses["WM"].coefficients[:2])}
    dwi = scan_fibres(np.array([[0.0, 0.6, 0.8]]), few)
    solution = fit_csd(dwi, few, cluster_shells(few.bvals), np.ones((1, 1, 1), bool), white)
    assert solution.fodf_sh.shape[-1] == 45
    assert not solution.fodf_sh[..., 15:].any()
    assert angles_deg(main_directions(solution.fodf_sh), np.array([[0.0, 0.6, 0.8]]))[0] < 5.0


@pytest.mark.parametrize("fit", [fit_csd, fit_msmt_csd])
def test_outside_the_mask_everything_is_zero(fit: Fit, scheme):
    table, shells, responses = scheme
    dwi = scan_fibres(spread_directions(4, 6), table)
    mask = np.array([True, False, True, False])[:, None, None]
    solution = fit(dwi, table, shells, mask, responses)
    assert not solution.fodf_sh[~mask].any()
    assert not solution.rmse[~mask].any()
    assert solution.fodf_sh[mask][:, 0].min() > 0


def test_an_empty_voxel_gives_an_empty_fodf(scheme):
    table, shells, responses = scheme
    dwi, mask = np.zeros((1, 1, 1, len(BVALS))), np.ones((1, 1, 1), bool)
    for fit in (fit_csd, fit_msmt_csd):
        assert not fit(dwi, table, shells, mask, responses).fodf_sh.any()


@pytest.mark.parametrize("fit", [fit_csd, fit_msmt_csd])
def test_two_processes_give_what_one_gives(fit: Fit, scheme, monkeypatch: pytest.MonkeyPatch):
    table, shells, responses = scheme
    monkeypatch.setattr("shd_bids.deconvolution.voxelwise._CHUNK", 2)
    dwi = scan_fibres(spread_directions(5, 7), table)
    mask = np.ones(dwi.shape[:3], bool)
    alone = fit(dwi, table, shells, mask, responses)
    together = fit(dwi, table, shells, mask, responses, n_threads=2)
    np.testing.assert_allclose(together.fodf_sh, alone.fodf_sh, atol=1e-6)


def test_no_white_matter_response_is_refused(scheme):
    table, shells, responses = scheme
    dwi, mask = np.zeros((1, 1, 1, len(BVALS))), np.ones((1, 1, 1), bool)
    with pytest.raises(ResponseError, match="csd needs a WM response, but only CSF was given"):
        fit_csd(dwi, table, shells, mask, {"CSF": responses["CSF"]})


def test_more_tissues_than_shells_are_refused(scheme):
    table, shells, responses = scheme
    kept = np.flatnonzero(shells.index < 2)
    single = GradientTable(table.bvals[kept], table.bvecs_ras[kept])
    dwi, mask = np.zeros((1, 1, 1, len(kept))), np.ones((1, 1, 1), bool)
    with pytest.raises(ResponseError, match=r"3 tissues for 2 shells.*--fod-model csd"):
        fit_msmt_csd(dwi, single, cluster_shells(single.bvals), mask, responses)


class Crop:
    """A block of MRtrix3's multi-shell test image with its reference responses and results."""

    def __init__(self, folder: Path):
        stem = folder / "mrtrix3-msmt-crop/sub-01/dwi/sub-01_dwi"
        derived = folder / "mrtrix3-msmt-crop/derivatives/mrtrix3-reference/sub-01/dwi"
        image = nib.load(stem.with_suffix(".nii.gz"))
        self.affine = np.asarray(image.affine)
        block = np.s_[5:11, 5:11, 3:7]
        self.dwi = np.asarray(image.dataobj, dtype=np.float32)[block]
        self.mask = np.ones(self.dwi.shape[:3], dtype=bool)
        self.table = read_fsl_gradients(
            stem.with_suffix(".bval"), stem.with_suffix(".bvec"), self.affine
        )
        self.shells = cluster_shells(self.table.bvals)
        self.responses, self.reference = {}, {}
        for tissue in ("WM", "GM", "CSF"):
            text = derived / f"sub-01_response-{tissue.lower()}.txt"
            self.responses[tissue] = read_response(text, tissue, self.shells.bvals)
            map_file = derived / f"sub-01_model-csd_param-fod{tissue.lower()}_dwimap.nii.gz"
            self.reference[tissue] = np.asarray(nib.load(map_file).dataobj)[block]


@pytest.fixture(scope="module")
def crop(shared_data: Path) -> Crop:
    return Crop(shared_data)


def test_msmt_csd_agrees_with_mrtrix3(crop: Crop):
    solution = fit_msmt_csd(crop.dwi, crop.table, crop.shells, crop.mask, crop.responses)
    white = crop.reference["WM"]
    assert np.corrcoef(solution.fodf_sh.ravel(), white.ravel())[0, 1] > 0.995
    for tissue in ("GM", "CSF"):
        theirs = crop.reference[tissue].reshape(crop.mask.shape)
        np.testing.assert_allclose(solution.tissue[tissue], theirs, atol=0.01 * UNIT_COEFFICIENT)
    clear = white[..., 0].ravel() > 0.5 * UNIT_COEFFICIENT
    angles = angles_deg(main_directions(solution.fodf_sh), main_directions(white))[clear]
    assert np.median(angles) < 2.0
    assert np.percentile(angles, 95) < 10.0


@pytest.mark.needs_tool("dwi2fod")
def test_csd_agrees_with_mrtrix3(crop: Crop, tmp_path: Path):
    nib.Nifti1Image(crop.dwi, crop.affine).to_filename(tmp_path / "dwi.nii")
    write_mrtrix_gradients(crop.table, tmp_path / "dwi.b")
    np.savetxt(tmp_path / "wm.txt", crop.responses["WM"].coefficients[-1:])
    command = ["dwi2fod", "csd", "-quiet", "-nthreads", "1", "-grad", "dwi.b", "-shells", "2800"]
    subprocess.run(
        [*command, "-lmax", "8", "dwi.nii", "wm.txt", "wm.nii"], cwd=tmp_path, check=True
    )
    theirs = np.asarray(nib.load(tmp_path / "wm.nii").dataobj)
    ours = fit_csd(crop.dwi, crop.table, crop.shells, crop.mask, crop.responses).fodf_sh
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97
    np.testing.assert_allclose(ours[..., 0], theirs[..., 0], atol=0.01 * UNIT_COEFFICIENT)
    angles = angles_deg(main_directions(ours), main_directions(theirs))
    assert np.median(angles) < 3.0


@pytest.mark.filterwarnings("ignore:The legacy descoteaux07")
def test_msmt_csd_is_never_worse_than_dipy_s(crop: Crop):
    pytest.importorskip("cvxpy")
    from dipy.reconst.mcsd import MultiShellDeconvModel, MultiShellResponse

    bvals = crop.shells.bvals[crop.shells.index]
    table = gradient_table(bvals, bvecs=crop.table.bvecs_ras * (bvals > 0)[:, None], b0_threshold=0)
    unit = crop.responses["WM"].isotropic_signal(0)
    isotropic = [crop.responses[tissue].coefficients for tissue in ("CSF", "GM")]
    columns = np.concatenate([*isotropic, crop.responses["WM"].to_lmax(8)], axis=1) / unit
    theirs = MultiShellDeconvModel(table, MultiShellResponse(columns, 8, crop.shells.bvals))
    signal = crop.dwi[2, :4, 2].astype(float) / unit
    residual = signal - theirs.fit(signal).all_shm_coeff @ theirs._X.T
    part = np.zeros_like(crop.mask)
    part[2, :4, 2] = True
    ours = fit_msmt_csd(crop.dwi, crop.table, crop.shells, part, crop.responses)
    their_rmse = np.sqrt((residual**2).mean(axis=1))
    np.testing.assert_allclose(ours.rmse[part], their_rmse, rtol=1e-3)
