"""RUMBA-SD with and without total variation: right directions, right scale, calmer neighbours."""

from pathlib import Path

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
from dipy.data import default_sphere
from scipy.spatial.transform import Rotation

from shd_bids.deconvolution.rumba import fit_rumba
from shd_bids.deconvolution.solution import UNIT_COEFFICIENT
from shd_bids.dwi.gradients import GradientTable, read_fsl_gradients, write_fsl_gradients
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.errors import ResponseError
from shd_bids.response.io import Response
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.testing.kernels import add_rician_noise
from shd_bids.tractography.peaks import find_peaks

Scheme = tuple[GradientTable, Shells, dict[str, Response]]
FIBRE = np.array([[0.0, 0.6, 0.8]])


@pytest.fixture(scope="module")
def scheme() -> Scheme:
    return make_scheme()


def _tissue_signal(tissue: str, scheme: Scheme) -> np.ndarray:
    _, shells, responses = scheme
    signal = [responses[tissue].isotropic_signal(int(shell)) for shell in shells.index]
    return np.array(signal).reshape(1, 1, 1, -1)


def _everywhere(dwi: np.ndarray) -> np.ndarray:
    return np.ones(dwi.shape[:3], dtype=bool)


@pytest.mark.parametrize("total_variation", [False, True])
@pytest.mark.parametrize("orientation", AFFINES)
def test_a_fibre_is_found_along_its_world_direction(
    total_variation: bool, orientation: str, scheme: Scheme, tmp_path: Path
):
    world, shells, responses = scheme
    files = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
    write_fsl_gradients(world, AFFINES[orientation], *files)
    table = read_fsl_gradients(*files, AFFINES[orientation])
    fibres = FIBRE.repeat(8, axis=0) if total_variation else spread_directions(8, 3)
    dwi = scan_fibres(fibres, world).reshape(2, 2, 2, -1)
    solution = fit_rumba(
        dwi, table, shells, _everywhere(dwi), responses, total_variation=total_variation
    )
    assert angles_deg(main_directions(solution.fodf_sh), fibres).max() < 3.0


@pytest.mark.parametrize("angle_deg", [60, 75, 90])
def test_a_crossing_is_found(angle_deg: int, scheme: Scheme):
    table, shells, responses = scheme
    turn = Rotation.from_rotvec(np.radians(angle_deg) * np.array([0.6, -0.64, 0.48]))
    fibres = np.vstack([FIBRE, turn.apply(FIBRE)])
    dwi = scan_fibres(fibres, table).mean(axis=0, keepdims=True)
    mask = _everywhere(dwi)
    peaks = find_peaks(fit_rumba(dwi, table, shells, mask, responses).fodf_sh, mask)
    found = peaks.directions[0, 0, 0][peaks.amplitudes[0, 0, 0] > 0]
    assert len(found) == 2
    for fibre in fibres:
        assert angles_deg(found, fibre[None]).min() < 5.0


@pytest.mark.parametrize("lmax", [4, 6, 8, 12])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_white_matter_alone_has_the_unit_coefficient_and_no_negative_amplitude(
    lmax: int, scale: float, scheme: Scheme
):
    table, shells, responses = scheme
    dwi = scale * scan_fibres(spread_directions(3, 4), table)
    solution = fit_rumba(dwi, table, shells, _everywhere(dwi), responses, lmax=lmax)
    np.testing.assert_allclose(solution.fodf_sh[..., 0], scale * UNIT_COEFFICIENT, rtol=0.02)
    amplitude = solution.fodf_sh @ sh_basis(default_sphere.vertices, lmax).T
    assert amplitude.min() > -1e-4 * amplitude.max()
    assert solution.rmse.max() < 0.02  # of noise that is taken to be there


@pytest.mark.parametrize("total_variation", [False, True])
@pytest.mark.parametrize("tissue", ["GM", "CSF"])
def test_an_isotropic_tissue_alone_has_the_unit_coefficient(
    tissue: str, total_variation: bool, scheme: Scheme
):
    """But for the bias that RUMBA expects of noise, which this signal does not have."""
    table, shells, responses = scheme
    dwi = np.tile(_tissue_signal(tissue, scheme), (2, 2, 2, 1))
    solution = fit_rumba(
        dwi, table, shells, _everywhere(dwi), responses, total_variation=total_variation
    )
    np.testing.assert_allclose(solution.tissue[tissue], UNIT_COEFFICIENT, rtol=0.05)
    np.testing.assert_allclose(solution.fractions[tissue], 1.0, atol=0.05)


def test_a_mixture_is_taken_apart_by_volume(scheme: Scheme):
    table, shells, responses = scheme
    dwi = 0.6 * scan_fibres(FIBRE, table) + 0.4 * _tissue_signal("CSF", scheme)
    solution = fit_rumba(dwi, table, shells, _everywhere(dwi), responses)
    np.testing.assert_allclose(solution.fractions["WM"], 0.6, atol=0.03)
    np.testing.assert_allclose(solution.fractions["CSF"], 0.4, atol=0.03)


def test_turning_gradients_turns_the_fodf(scheme: Scheme):
    table, shells, responses = scheme
    turn = Rotation.random(random_state=1).as_matrix()
    fibres = spread_directions(6, 5)
    dwi = scan_fibres(fibres, table)
    turned = GradientTable(table.bvals, table.bvecs_ras @ turn.T)
    before = fit_rumba(dwi, table, shells, _everywhere(dwi), responses).fodf_sh
    after = fit_rumba(dwi, turned, shells, _everywhere(dwi), responses).fodf_sh
    assert angles_deg(main_directions(before) @ turn.T, main_directions(after)).max() < 4.0
    np.testing.assert_allclose(before[..., 0], after[..., 0], rtol=0.01)


@pytest.mark.parametrize("tissues", [("WM",), ("WM", "CSF"), ("WM", "GM", "CSF")])
def test_one_shell_takes_the_tissues_that_have_responses(tissues: tuple[str, ...], scheme: Scheme):
    table, shells, responses = scheme
    kept = np.flatnonzero(shells.index < 2)
    single = GradientTable(table.bvals[kept], table.bvecs_ras[kept])
    given = {
        tissue: Response(tissue, shells.bvals[:2], responses[tissue].coefficients[:2])
        for tissue in tissues
    }
    dwi = scan_fibres(FIBRE, single)
    solution = fit_rumba(dwi, single, cluster_shells(single.bvals), _everywhere(dwi), given)
    assert ("WM", *solution.tissue) == tissues
    assert angles_deg(main_directions(solution.fodf_sh), FIBRE).max() < 3.0
    np.testing.assert_allclose(solution.fractions["WM"], 1.0, atol=0.05)


@pytest.fixture(scope="module")
def noisy_block(scheme: Scheme) -> np.ndarray:
    """Scan a block of one bundle with noise of SNR 12."""
    clean = np.tile(scan_fibres(FIBRE, scheme[0]), (6, 3, 3, 1))
    return add_rician_noise(clean, 1000.0 / 12, np.random.default_rng(2)).astype(np.float32)


def test_total_variation_makes_neighbours_alike(noisy_block: np.ndarray, scheme: Scheme):
    table, shells, responses = scheme
    steps = {}
    for total_variation in (False, True):
        fodf_sh = fit_rumba(
            noisy_block,
            table,
            shells,
            _everywhere(noisy_block),
            responses,
            total_variation=total_variation,
        ).fodf_sh
        steps[total_variation] = np.abs(np.diff(fodf_sh, axis=0)).mean()
    assert steps[True] < 0.7 * steps[False]


@pytest.mark.parametrize("n_plane", [1, 3])
def test_total_variation_takes_a_plane_and_a_line(
    n_plane: int, noisy_block: np.ndarray, scheme: Scheme
):
    table, shells, responses = scheme
    mask = np.zeros(noisy_block.shape[:3], dtype=bool)
    mask[1:4, 2, :n_plane] = True
    solution = fit_rumba(noisy_block, table, shells, mask, responses, total_variation=True)
    assert solution.fodf_sh[mask][:, 0].min() > 0.8 * UNIT_COEFFICIENT
    assert not solution.fodf_sh[~mask].any()


@pytest.mark.parametrize("total_variation", [False, True])
def test_outside_the_mask_and_without_signal_everything_is_zero(
    total_variation: bool, noisy_block: np.ndarray, scheme: Scheme
):
    table, shells, responses = scheme
    mask = np.zeros(noisy_block.shape[:3], dtype=bool)
    mask[:2, :2, :2] = True
    dwi = noisy_block.copy()
    dwi[0, 0, 0] = 0.0
    solution = fit_rumba(dwi, table, shells, mask, responses, total_variation=total_variation)
    for image in (solution.fodf_sh, solution.rmse, *solution.tissue.values()):
        assert not image[~mask].any()
        assert np.isfinite(image).all()
    assert not solution.fodf_sh[0, 0, 0].any()
    assert solution.fodf_sh[1, 1, 1, 0] > 0


def test_two_processes_give_what_one_gives(
    noisy_block: np.ndarray, scheme: Scheme, monkeypatch: pytest.MonkeyPatch
):
    table, shells, responses = scheme
    monkeypatch.setattr("shd_bids.deconvolution.voxelwise._CHUNK", 4)
    dwi = noisy_block[:, :2, 0:1]
    alone = fit_rumba(dwi, table, shells, _everywhere(dwi), responses)
    together = fit_rumba(dwi, table, shells, _everywhere(dwi), responses, n_threads=2)
    np.testing.assert_allclose(together.fodf_sh, alone.fodf_sh, atol=1e-6)


def test_no_white_matter_response_is_refused(scheme: Scheme):
    table, shells, responses = scheme
    dwi = np.zeros((1, 1, 1, len(BVALS)))
    with pytest.raises(ResponseError, match="rumba needs a WM response, but only CSF was given"):
        fit_rumba(dwi, table, shells, _everywhere(dwi), {"CSF": responses["CSF"]})
