"""Scores of fODFs whose errors are known."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dipy.core.geometry import cart2sphere
from dipy.reconst.shm import real_sh_tournier

from shd_bids.errors import BidsDataError, ImageError
from shd_bids.testing.phantom import Phantom, make_phantom, write_phantom_bids
from shd_bids.testing.score import describe_score, format_scores, main, score_fodf, score_outputs
from shd_bids.testing.truth import Truth

LMAX = 12
SMOOTHING = 0.012  # rad², keeps the truncated series free of side lobes


def _synthesise(directions: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Give the fODF of narrow fibres, in MRtrix3's basis and scale."""
    _, polar, azimuth = cart2sphere(*directions.reshape(-1, 3).T)
    basis, _, degrees = real_sh_tournier(LMAX, polar, azimuth, legacy=False)
    basis = basis * np.exp(-SMOOTHING * degrees * (degrees + 1) / 2)
    basis = basis.reshape(*fractions.shape, -1)
    return np.einsum("xyzfc,xyzf->xyzc", basis, fractions).astype(np.float32)


def _rotation(degrees: float) -> np.ndarray:
    sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


@pytest.fixture(scope="module")
def crossings() -> Truth:
    """Pairs of fibres in the transverse plane at 50 to 90 degrees, white matter only."""
    angle = np.radians(np.linspace(50, 90, 60)).reshape(5, 4, 3)
    start = np.random.default_rng(0).uniform(0, np.pi, size=angle.shape)
    azimuth = np.stack([start, start + angle], axis=-1)
    directions = np.stack([np.cos(azimuth), np.sin(azimuth), 0 * azimuth], axis=-1)
    tissue = np.broadcast_to([1.0, 0.0, 0.0], (5, 4, 3, 3)).copy()
    return Truth(directions, np.broadcast_to([0.6, 0.4], azimuth.shape).copy(), tissue)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """Scan a coarse phantom."""
    return make_phantom((18, 18, 14), 4.0, shells={0: 1, 1000: 6})


@pytest.fixture(scope="module")
def dataset(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write it to disk."""
    return write_phantom_bids(phantom, tmp_path_factory.mktemp("score") / "bids")


def _write_model(output_dir: Path, model: str, images: dict[str, np.ndarray]) -> None:
    folder = output_dir / "sub-01/dwi"
    folder.mkdir(parents=True, exist_ok=True)
    for tissue, array in images.items():
        name = f"sub-01_model-{model}_param-fod_label-{tissue}_dwimap.nii.gz"
        nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), folder / name)


def test_the_truth_itself_scores_without_error(crossings: Truth):
    score = score_fodf(_synthesise(crossings.directions, crossings.fractions), crossings).overall
    assert score.n_fibre == 120
    assert score.angular_error_deg < 1.0
    assert (score.false_positives, score.false_negatives) == (0.0, 0.0)


@pytest.mark.parametrize("degrees", [5.0, 12.0])
def test_a_rotated_truth_scores_the_angle_of_rotation(crossings: Truth, degrees: float):
    turned = crossings.directions @ _rotation(degrees).T
    score = score_fodf(_synthesise(turned, crossings.fractions), crossings).overall
    assert score.angular_error_deg == pytest.approx(degrees, abs=0.8)
    assert (score.false_positives, score.false_negatives) == (0.0, 0.0)


def test_a_missing_fibre_is_a_false_negative(crossings: Truth):
    fractions = crossings.fractions * [1.0, 0.0]
    score = score_fodf(_synthesise(crossings.directions, fractions), crossings).overall
    assert (score.false_positives, score.false_negatives) == (0.0, 0.5)


def test_an_invented_fibre_is_a_false_positive(crossings: Truth):
    up = np.broadcast_to([0.0, 0.0, 1.0], (5, 4, 3, 1, 3))
    directions = np.concatenate([crossings.directions, up], axis=3)
    fractions = np.concatenate([crossings.fractions, np.full((5, 4, 3, 1), 0.4)], axis=3)
    score = score_fodf(_synthesise(directions, fractions), crossings).overall
    assert (score.false_positives, score.false_negatives) == (0.5, 0.0)


def test_an_empty_fodf_misses_everything(crossings: Truth):
    score = score_fodf(np.zeros((5, 4, 3, 45), dtype=np.float32), crossings).overall
    assert np.isnan(score.angular_error_deg)
    assert (score.false_positives, score.false_negatives) == (0.0, 1.0)


def test_crossings_are_sorted_by_angle(crossings: Truth):
    score = score_fodf(_synthesise(crossings.directions, crossings.fractions), crossings)
    voxels = {name: group.n_voxel for name, group in score.groups.items()}
    assert voxels["2 fibres"] == 60
    assert voxels["1 fibre"] == voxels["3+ fibres"] == voxels["crossing 25-45 deg"] == 0
    parts = [voxels[f"crossing {part} deg"] for part in ("45-60", "60-75", "75-90")]
    assert sum(parts) == 60
    assert min(parts) > 10


def test_success_is_the_share_of_voxels_without_any_mistake(crossings: Truth):
    fractions = crossings.fractions.copy()
    fractions[:2, ..., 1] = 0.0  # two slabs of five lack their second fibre
    score = score_fodf(_synthesise(crossings.directions, fractions), crossings).overall
    assert score.success == pytest.approx(3 / 5)


def test_partial_volume_is_scored_apart(crossings: Truth):
    tissue = crossings.tissue.copy()
    tissue[0] = [0.7, 0.3, 0.0]
    truth = Truth(crossings.directions, crossings.fractions * tissue[..., :1], tissue)
    score = score_fodf(_synthesise(truth.directions, truth.fractions), truth)
    assert score.groups["partial volume"].n_voxel == 12


def test_a_fibre_that_turns_from_voxel_to_voxel_is_bending():
    angle = np.radians(np.cumsum([0, 1, 1, 8, 8, 1, 1]))[:, None, None]
    direction = np.zeros((7, 1, 1, 2, 3))
    direction[..., 0, :] = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    fractions = np.broadcast_to([1.0, 0.0], (7, 1, 1, 2)).copy()
    tissue = np.broadcast_to([1.0, 0.0, 0.0], (7, 1, 1, 3)).copy()
    nothing = np.zeros((7, 1, 1, 45), dtype=np.float32)
    groups = score_fodf(nothing, Truth(direction, fractions, tissue)).groups
    assert groups["1 fibre"].n_voxel == 7
    assert groups["bending fibre"].n_voxel == 3


def test_what_no_model_found_is_null_in_json(crossings: Truth):
    score = describe_score(score_fodf(np.zeros((5, 4, 3, 45), dtype=np.float32), crossings))
    assert score["overall"]["angular_error_deg"] is None
    assert json.loads(json.dumps(score, allow_nan=False)) == score


def test_the_phantoms_truth_scores_nearly_without_error(phantom: Phantom):
    fodf_sh = _synthesise(phantom.truth.directions, phantom.truth.fractions)
    score = score_fodf(fodf_sh, phantom.truth, mask=phantom.mask).overall
    assert score.angular_error_deg < 1.0
    assert max(score.false_positives, score.false_negatives) < 0.02


def test_every_model_of_an_output_tree_is_scored(phantom: Phantom, dataset: Path, tmp_path: Path):
    truth = phantom.truth
    fodf_sh = _synthesise(truth.directions, truth.fractions)
    isotropic = np.moveaxis(truth.tissue[..., 1:] / np.sqrt(4 * np.pi), -1, 0)
    _write_model(tmp_path, "csd", {"WM": fodf_sh})
    _write_model(tmp_path, "msmtcsd", {"WM": fodf_sh, "GM": isotropic[0], "CSF": isotropic[1]})
    scores = score_outputs(dataset, tmp_path)
    assert list(scores) == ["csd", "msmtcsd"]
    assert scores["csd"].tissue_error == {}
    assert list(scores["msmtcsd"].tissue_error) == ["WM", "GM", "CSF"]
    assert max(scores["msmtcsd"].tissue_error.values()) < 1e-6
    assert "no tissues" in format_scores(scores)


def test_the_command_prints_a_table_and_writes_json(
    phantom: Phantom, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    fodf_sh = _synthesise(phantom.truth.directions, phantom.truth.fractions)
    _write_model(tmp_path / "out", "shdtv", {"WM": fodf_sh})
    main([str(dataset), str(tmp_path / "out"), "--json", str(tmp_path / "score.json")])
    assert "shdtv" in capsys.readouterr().out
    assert json.loads((tmp_path / "score.json").read_text())["shdtv"]["overall"]["n_fibre"] > 500


def test_an_output_without_fodfs_is_refused(dataset: Path, tmp_path: Path):
    with pytest.raises(BidsDataError, match=r"Run shd-bids on the phantom first"):
        score_outputs(dataset, tmp_path)


def test_an_fodf_on_another_grid_is_refused(dataset: Path, tmp_path: Path):
    _write_model(tmp_path, "csd", {"WM": np.ones((4, 4, 4, 15))})
    with pytest.raises(ImageError, match=r"has \(4, 4, 4\) voxels, but the truth has"):
        score_outputs(dataset, tmp_path)
