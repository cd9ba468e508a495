"""The phantom, in memory and as a BIDS dataset."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

from shd_bids.dwi.gradients import read_fsl_gradients
from shd_bids.errors import BidsDataError, OutputError
from shd_bids.response.io import read_response
from shd_bids.testing.geometry import BENT_BUNDLES
from shd_bids.testing.kernels import S0
from shd_bids.testing.phantom import (
    Phantom,
    main,
    make_affine,
    make_phantom,
    make_single_shell_phantom,
    read_truth,
    write_phantom_bids,
)
from shd_bids.testing.score import score_fodf
from shd_bids.testing.truth import sample_truth

SHAPE, VOXEL_MM = (18, 18, 14), 4.0
SHELLS = {0: 3, 1000: 12}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    """Scan a coarse oblique phantom."""
    return make_phantom(SHAPE, VOXEL_MM, shells=SHELLS)


@pytest.fixture(scope="module")
def dataset(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write it to disk."""
    return write_phantom_bids(phantom, tmp_path_factory.mktemp("phantom") / "bids")


def _run_validator(dataset_dir: Path) -> subprocess.CompletedProcess:
    validator = Path(sys.executable).parent / "bids-validator-deno"
    if not validator.is_file():
        pytest.skip("bids-validator-deno is not installed")
    return subprocess.run([validator, dataset_dir], capture_output=True, text=True)


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "oblique"])
def test_the_tensor_follows_the_true_fibre_from_the_files_alone(orientation: str, tmp_path: Path):
    affine = make_affine(SHAPE, VOXEL_MM, orientation)
    phantom = make_phantom(SHAPE, VOXEL_MM, shells={0: 3, 1000: 20}, affine=affine)
    write_phantom_bids(phantom, tmp_path / "bids")
    stem = tmp_path / "bids/sub-01/dwi/sub-01_dwi"
    image = nib.load(f"{stem}.nii.gz")
    table = read_fsl_gradients(stem.with_suffix(".bval"), stem.with_suffix(".bvec"), image.affine)
    truth = read_truth(tmp_path / "bids")
    single = truth.fractions[..., 0] > 0.95
    model = TensorModel(gradient_table(table.bvals, bvecs=table.bvecs_ras))
    main_axis = model.fit(image.get_fdata()[single]).evecs[..., 0]
    cosine = np.abs(np.sum(main_axis * truth.directions[single][:, 0], axis=1)).clip(0, 1)
    assert single.sum() > 50
    assert np.degrees(np.arccos(cosine)).mean() < 3.0


def test_truth_is_the_same_anatomy_whatever_the_affine():
    spots = []
    for orientation in ("RAS", "LPS"):
        affine = make_affine(SHAPE, VOXEL_MM, orientation)
        truth = make_phantom(SHAPE, VOXEL_MM, shells=SHELLS, affine=affine).truth
        spots.append(truth.tissue if orientation == "RAS" else truth.tissue[::-1, ::-1])
    np.testing.assert_allclose(*spots, atol=1e-9)


def test_a_quarter_turn_of_the_brain_turns_its_voxels_and_its_fibres():
    shape, affine = (18, 18, 18), make_affine((18, 18, 18), 4.0, "RAS")
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    upright, _ = sample_truth(shape, affine)
    turned, _ = sample_truth(shape, affine, rotation=turn)
    np.testing.assert_allclose(np.rot90(upright.tissue, axes=(0, 1)), turned.tissue, atol=1e-6)
    moved = np.rot90(upright.directions, axes=(0, 1)) @ turn.T
    crossing = np.rot90(upright.fractions, axes=(0, 1)).min(axis=-1) > 0
    cosine = np.abs(np.sum(moved * turned.directions, axis=-1))[crossing]
    assert crossing.sum() > 20
    assert np.median(cosine) > 0.9999


def test_another_anatomy_seed_turns_the_same_brain():
    kept = {"shells": {0: 1, 1000: 6}, "snr": np.inf}
    one, two = (make_phantom((18, 18, 18), 4.0, anatomy_seed=seed, **kept).truth for seed in (1, 2))
    assert np.abs(one.directions - two.directions).max() > 0.5
    np.testing.assert_allclose(one.tissue.sum((0, 1, 2)), two.tissue.sum((0, 1, 2)), rtol=0.1)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bent_brain_covers_all_crossings_whatever_its_turn(seed: int):
    shells = {0: 1, 1000: 6}
    phantom = make_phantom((36, 36, 36), shells=shells, bundles=BENT_BUNDLES, anatomy_seed=seed)
    nothing = np.zeros((*phantom.mask.shape, 45), dtype=np.float32)
    groups = score_fodf(nothing, phantom.truth, mask=phantom.mask).groups
    assert groups["1 fibre"].n_voxel > 3000
    assert groups["3+ fibres"].n_voxel > 200
    assert groups["bending fibre"].n_voxel > 400
    assert groups["partial volume"].n_voxel > 800
    crossings = [group.n_voxel for name, group in groups.items() if name.startswith("crossing")]
    assert min(crossings) > 200


def test_fractions_of_fibres_sum_to_white_matter_and_tissues_to_one(phantom: Phantom):
    truth = phantom.truth
    np.testing.assert_allclose(truth.fractions.sum(-1), truth.tissue[..., 0], atol=1e-9)
    np.testing.assert_allclose(truth.tissue.sum(-1), phantom.mask, atol=1e-9)


def test_fibres_cross_at_many_angles_and_three_at_a_time():
    truth = make_phantom(shells={0: 1, 1000: 6}).truth
    white = truth.tissue[..., 0] > 0.8
    share = truth.fractions[white] / truth.tissue[white][:, :1]
    n_fibre = (share > 0.2).sum(axis=1)
    assert np.all(np.bincount(n_fibre, minlength=4)[1:4] > [1000, 800, 100])
    pair = truth.directions[white][n_fibre == 2]
    cosine = np.abs(np.sum(pair[:, 0] * pair[:, 1], axis=1)).clip(0, 1)
    counts, _ = np.histogram(np.degrees(np.arccos(cosine)), bins=[30, 45, 60, 75, 90])
    assert np.all(counts > 50)


def test_the_b0_signal_is_that_of_the_tissues():
    clean = make_phantom(SHAPE, VOXEL_MM, shells=SHELLS, snr=np.inf)
    expected = clean.truth.tissue @ [S0["WM"], S0["GM"], S0["CSF"]]
    for volume in np.flatnonzero(clean.bvals == 0):
        np.testing.assert_allclose(clean.dwi[..., volume], expected, atol=0.01)


def test_noise_has_the_signal_to_noise_ratio_asked_for(phantom: Phantom):
    clean = make_phantom(SHAPE, VOXEL_MM, shells=SHELLS, snr=np.inf)
    bright = clean.dwi > 500
    noise = (phantom.dwi - clean.dwi)[bright]
    np.testing.assert_allclose(noise.std(), S0["WM"] / 30.0, rtol=0.02)


def test_the_single_shell_phantom_has_32_directions():
    phantom = make_single_shell_phantom(SHAPE, VOXEL_MM)
    assert np.count_nonzero(phantom.bvals == 1000) == 32


def test_truth_survives_the_disk(phantom: Phantom, dataset: Path):
    truth = read_truth(dataset)
    np.testing.assert_allclose(truth.tissue, phantom.truth.tissue, atol=1e-6)
    np.testing.assert_allclose(truth.fractions, phantom.truth.fractions, atol=1e-6)
    there = truth.fractions > 1e-3
    np.testing.assert_allclose(truth.directions[there], phantom.truth.directions[there], atol=1e-5)


def test_gradients_survive_the_fsl_convention(phantom: Phantom, dataset: Path):
    stem = dataset / "sub-01/dwi/sub-01_dwi"
    files = stem.with_suffix(".bval"), stem.with_suffix(".bvec")
    table = read_fsl_gradients(*files, phantom.affine)
    np.testing.assert_allclose(table.bvecs_ras, phantom.bvecs_ras, atol=1e-6)
    np.testing.assert_allclose(table.bvals, phantom.bvals)


def test_true_responses_can_be_given_to_a_run(phantom: Phantom, dataset: Path):
    stem = dataset / "derivatives/truth/sub-01/dwi/sub-01_model-truth_param-response"
    for tissue, coefficients in phantom.responses.items():
        file = Path(f"{stem}_label-{tissue}_dwimap.txt")
        response = read_response(file, tissue, phantom.shell_bvals)
        np.testing.assert_allclose(response.coefficients, coefficients, rtol=1e-6)


@pytest.mark.parametrize("part", [".", "derivatives/truth"])
def test_the_dataset_is_valid_bids(part: str, dataset: Path):
    outcome = _run_validator(dataset / part)
    assert outcome.returncode == 0, outcome.stdout
    assert "[ERROR]" not in outcome.stdout


def test_an_earlier_phantom_is_replaced(phantom: Phantom, tmp_path: Path):
    write_phantom_bids(phantom, tmp_path / "bids")
    (tmp_path / "bids/stray").touch()
    write_phantom_bids(phantom, tmp_path / "bids")
    assert not (tmp_path / "bids/stray").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bids"]


def test_a_directory_that_is_no_phantom_is_left_alone(phantom: Phantom, tmp_path: Path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"not an earlier phantom, so it is left alone"):
        write_phantom_bids(phantom, tmp_path)


def test_data_without_truth_cannot_be_scored(tmp_path: Path):
    with pytest.raises(BidsDataError, match=r"Only a dataset written by .* can be scored"):
        read_truth(tmp_path)


def test_the_command_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture):
    sizes = ["--shape", "12", "12", "10", "--voxel-size-mm", "6"]
    main([str(tmp_path / "bids"), "--single-shell", "--orientation", "RAS", *sizes])
    assert (tmp_path / "bids/sub-01/dwi/sub-01_dwi.bvec").is_file()
    assert "brain voxels" in capsys.readouterr().out
