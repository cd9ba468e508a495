"""The phantom with artefacts: laws that its scans obey, and its files."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

from shd_bids.dwi.gradients import read_fsl_gradients
from shd_bids.dwi.transforms import PhaseEncoding, resample_volume, voxel_matrix
from shd_bids.errors import BidsDataError
from shd_bids.testing.artefact_truth import read_artefact_truth
from shd_bids.testing.artefacts import ArtefactPhantom, Artefacts, make_artefact_phantom
from shd_bids.testing.phantom import main, make_phantom, write_phantom_bids
from shd_bids.testing.preproc_score import score_signal

SHAPE, VOXEL_MM = (18, 18, 14), 4.0
SHELLS = {0: 2, 1000: 8}


def scan(artefacts: Artefacts | None, snr: float = np.inf, **kept) -> ArtefactPhantom:
    return make_artefact_phantom(
        SHAPE, VOXEL_MM, shells=SHELLS, snr=snr, artefacts=artefacts, **kept
    )


@pytest.fixture(scope="module")
def phantom() -> ArtefactPhantom:
    """Scan with all artefacts and noise."""
    return scan(None, snr=25.0)


@pytest.fixture(scope="module")
def dataset(phantom: ArtefactPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write it to disk."""
    return write_phantom_bids(phantom, tmp_path_factory.mktemp("artefacts") / "bids")


def test_without_artefacts_the_scan_is_the_phantom_up_to_sampling():
    bare = scan(Artefacts.none())
    assert np.allclose(bare.scan.dwi, bare.noiseless, atol=1e-2)
    simple = make_phantom(SHAPE, VOXEL_MM, shells=SHELLS, snr=np.inf)
    assert np.allclose(bare.scan.bvecs_ras, simple.bvecs_ras)
    white = simple.truth.tissue[..., 0] > 0.99
    difference = np.abs(bare.scan.dwi[white] / simple.dwi[white] - 1)
    assert np.median(difference) < 0.005
    assert np.quantile(difference, 0.95) < 0.05


def test_resampling_by_the_truth_undoes_motion_eddy_currents_and_distortion():
    artefacts = replace(Artefacts.none(), motion_mm=5.0, motion_deg=5.0, eddy=0.02, field_hz=40.0)
    moved = make_artefact_phantom(
        (24, 24, 20), 3.0, shells={0: 1, 1000: 4}, snr=np.inf, artefacts=artefacts
    )
    truth, affine = moved.truth, moved.scan.affine
    axis = truth.phase.axis
    shift_vox = truth.phase.sign * truth.phase.readout_s * truth.field_hz
    corrected = np.empty_like(moved.noiseless)
    for volume in range(corrected.shape[3]):
        corrected[..., volume] = resample_volume(
            moved.scan.dwi[..., volume],
            voxel_matrix(truth.transforms, volume, affine, moved.scan.mask.shape, axis),
            shift_vox=shift_vox,
            phase_axis=axis,
            eddy_stretch=1 + float(truth.transforms.eddy[volume, axis]),
        )
    images = corrected, moved.scan.dwi
    after, before = (score_signal(image, moved.noiseless, moved.scan.mask) for image in images)
    assert after < before / 5


def test_the_first_volume_lies_at_rest_and_others_move_as_far_as_asked(phantom: ArtefactPhantom):
    transforms = phantom.truth.transforms
    assert np.all(transforms.translation_mm[0] == 0)
    assert np.all(transforms.rotation_rad[0] == 0)
    paths = (transforms, phantom.truth.reverse_transforms, phantom.truth.t1w_transforms)
    shifts = np.concatenate([path.translation_mm for path in paths])
    assert np.linalg.norm(shifts, axis=1).max() == pytest.approx(5.0)


def test_eddy_currents_are_as_strong_as_asked_and_none_at_b0(phantom: ArtefactPhantom):
    eddy = phantom.truth.transforms.eddy
    assert np.all(eddy[phantom.scan.bvals == 0] == 0)
    assert 0.005 < np.linalg.norm(eddy[:, :3], axis=1).max() <= 0.02
    assert 0.05 < np.abs(eddy[:, 3]).max() <= 0.5


def test_slices_that_dropped_out_lost_what_the_truth_says():
    dropped = scan(replace(Artefacts.none(), dropout=0.1))
    kept = dropped.truth.kept_signal
    assert 0 < (kept < 1).sum() < 0.15 * kept.size
    assert np.all(kept[dropped.scan.bvals == 0] == 1)
    assert kept[kept < 1].max() <= 0.7
    assert np.allclose(dropped.scan.dwi, dropped.noiseless * kept.T, atol=1e-2)


def test_the_bias_multiplies_the_signal():
    shaded = scan(replace(Artefacts.none(), bias=0.3))
    there = shaded.scan.mask
    ratio = shaded.scan.dwi[there] / shaded.noiseless[there]
    assert np.allclose(ratio, shaded.truth.bias[there][:, None], rtol=0.05)
    assert np.ptp(np.log(shaded.truth.bias[there])) > 0.4


def test_clean_and_corrupted_scans_have_the_same_noise(phantom: ArtefactPhantom):
    noise = (phantom.clean.dwi - phantom.noiseless)[phantom.noiseless > 500]
    assert noise.std() == pytest.approx(1000 / 25, rel=0.05)
    assert phantom.scan.sigma == phantom.clean.sigma == 1000 / 25


def test_gradients_of_the_clean_scan_are_those_that_the_moved_head_saw(phantom: ArtefactPhantom):
    rotations = phantom.truth.transforms.rotations()
    for volume in np.flatnonzero(phantom.scan.bvals > 0):
        applied = rotations[volume] @ phantom.clean.bvecs_ras[volume]
        assert np.allclose(applied, phantom.scan.bvecs_ras[volume])


def test_the_tensor_follows_the_true_fibre_with_the_gradients_that_the_head_saw():
    artefacts = replace(Artefacts.none(), motion_deg=20.0)
    turned = scan(artefacts)
    truth = turned.clean.truth
    single = truth.fractions[..., 0] > 0.95
    errors = []
    for bvecs in (turned.clean.bvecs_ras, turned.scan.bvecs_ras):
        model = TensorModel(gradient_table(turned.clean.bvals, bvecs=bvecs))
        main_axis = model.fit(turned.noiseless[single]).evecs[..., 0]
        cosine = np.abs(np.sum(main_axis * truth.directions[single][:, 0], axis=1)).clip(0, 1)
        errors.append(np.degrees(np.arccos(cosine)).mean())
    assert errors[0] < 2.0 < 5.0 < errors[1]


def test_the_same_seed_gives_the_same_scan_and_another_does_not():
    kept = {"shells": {0: 1, 1000: 3}, "artefacts": replace(Artefacts.none(), motion_mm=3.0)}
    one, same, other = (
        make_artefact_phantom((12, 12, 10), 6.0, seed=seed, **kept) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.scan.dwi, same.scan.dwi)
    assert np.abs(one.truth.transforms.translation_mm - other.truth.transforms.translation_mm).max()


def test_what_went_wrong_is_read_back(phantom: ArtefactPhantom, dataset: Path):
    truth = read_artefact_truth(dataset, phantom.truth.phase)
    for name in ("transforms", "reverse_transforms", "t1w_transforms"):
        for part in ("translation_mm", "rotation_rad", "eddy"):
            pair = (getattr(getattr(some, name), part) for some in (truth, phantom.truth))
            np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(truth.field_hz, phantom.truth.field_hz, atol=1e-4)
    np.testing.assert_allclose(truth.bias, phantom.truth.bias, rtol=1e-6)
    np.testing.assert_allclose(truth.kept_signal, phantom.truth.kept_signal)


def test_a_phantom_without_artefacts_has_no_such_truth(tmp_path: Path):
    with pytest.raises(BidsDataError, match=r"desc-truth_dropout.tsv.*--artefacts"):
        read_artefact_truth(tmp_path, PhaseEncoding(1, 1))


def test_opposite_images_name_the_series_that_they_correct(dataset: Path):
    dwi = json.loads((dataset / "sub-01/dwi/sub-01_dwi.json").read_text())
    epi = json.loads((dataset / "sub-01/fmap/sub-01_dir-PA_epi.json").read_text())
    assert (dwi["PhaseEncodingDirection"], epi["PhaseEncodingDirection"]) == ("j-", "j")
    assert epi["B0FieldIdentifier"] == dwi["B0FieldSource"]
    assert epi["IntendedFor"] == ["bids::sub-01/dwi/sub-01_dwi.nii.gz"]
    assert nib.load(dataset / "sub-01/fmap/sub-01_dir-PA_epi.nii.gz").shape == (*SHAPE, 3)


def test_clean_images_and_their_gradients_lie_beside_the_truth(
    phantom: ArtefactPhantom, dataset: Path
):
    stem = dataset / "derivatives/truth/sub-01/dwi/sub-01_desc-clean_dwi"
    image = nib.load(f"{stem}.nii.gz")
    files = stem.with_suffix(".bval"), stem.with_suffix(".bvec")
    table = read_fsl_gradients(*files, image.affine)
    np.testing.assert_allclose(table.bvecs_ras, phantom.clean.bvecs_ras, atol=1e-6)
    np.testing.assert_allclose(image.get_fdata(), phantom.clean.dwi, atol=0.51)


def test_the_t1w_image_lies_where_its_truth_says(phantom: ArtefactPhantom, dataset: Path):
    t1w = nib.load(dataset / "sub-01/anat/sub-01_T1w.nii.gz")
    assert t1w.header.get_zooms() == pytest.approx((3.0, 3.0, 3.0))
    voxels = np.argwhere(t1w.get_fdata() > 150)
    middle = t1w.affine[:3, :3] @ voxels.mean(axis=0) + t1w.affine[:3, 3]
    affine = phantom.scan.affine
    centre = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    shift_mm = phantom.truth.t1w_transforms.translation_mm[0]
    assert np.allclose(middle, centre + shift_mm, atol=0.3)


@pytest.mark.parametrize("part", [".", "derivatives/truth"])
def test_the_dataset_is_valid_bids(part: str, dataset: Path):
    validator = Path(sys.executable).parent / "bids-validator-deno"
    if not validator.is_file():
        pytest.skip("bids-validator-deno is not installed")
    outcome = subprocess.run([validator, dataset / part], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout
    assert "[ERROR]" not in outcome.stdout


def test_the_command_writes_artefacts(tmp_path: Path):
    sizes = ["--shape", "12", "12", "10", "--voxel-size-mm", "6"]
    main([str(tmp_path / "bids"), "--single-shell", "--artefacts", *sizes])
    assert (tmp_path / "bids/sub-01/fmap/sub-01_dir-PA_epi.nii.gz").is_file()
