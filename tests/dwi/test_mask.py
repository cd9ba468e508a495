"""The brain is found on good and on poor scans."""

import logging

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from shd_bids.dwi.images import load_dwi
from shd_bids.dwi.mask import check_mask, estimate_brain_mask
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.errors import MaskError
from shd_bids.testing.phantom import make_affine, make_phantom

SHELLS = Shells(np.array([0.0, 1000.0]), np.array([0, 0, 1, 1, 1, 1, 1, 1]))
VOXEL_MM = (2.0, 2.0, 2.0)


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    grid = np.indices(shape).reshape(3, -1).T - np.array(centre)
    return (np.linalg.norm(grid, axis=1) <= radius).reshape(shape)


@pytest.fixture
def head() -> tuple[np.ndarray, np.ndarray]:
    """Give a series of a round brain with a ventricle, two eyes and air, and the brain's mask."""
    shape = (48, 48, 40)
    brain = ball(shape, (24, 22, 20), 15)
    ventricle = ball(shape, (24, 22, 20), 4)
    eyes = ball(shape, (17, 42, 14), 3) | ball(shape, (31, 42, 14), 3)
    b0 = 40.0 + 400.0 * brain + 1200.0 * ventricle + 1500.0 * eyes
    weighted = 40.0 + 250.0 * brain - 200.0 * ventricle
    means = np.where(SHELLS.index == 0, b0[..., None], weighted[..., None])
    noise = np.random.default_rng(0).normal(scale=15, size=means.shape)
    return np.abs(means + noise).astype(np.float32), brain


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def load(folder):
    (file,) = folder.glob("sub-01/**/*_dwi.nii.gz")
    bvals = np.loadtxt(str(file).replace(".nii.gz", ".bval")).ravel()
    image = load_dwi(file)
    voxel_size_mm = tuple(float(edge) for edge in image.header.get_zooms()[:3])
    return np.asarray(image.dataobj), cluster_shells(bvals), voxel_size_mm


def test_a_round_brain_is_found_without_its_eyes(head):
    dwi, brain = head
    mask = estimate_brain_mask(dwi, SHELLS, VOXEL_MM)
    assert dice(mask, brain) > 0.96
    assert not mask[:, 41:].any()


def test_the_mask_is_one_piece_without_holes(head):
    mask = estimate_brain_mask(head[0], SHELLS, VOXEL_MM)
    assert ndimage.label(mask)[1] == 1
    assert (ndimage.binary_fill_holes(mask) == mask).all()


def test_a_strong_receive_field_does_not_eat_the_brain(head):
    dwi, brain = head
    field = np.linspace(0.5, 1.5, dwi.shape[0])[:, None, None, None]
    mask = estimate_brain_mask((dwi * field).astype(np.float32), SHELLS, VOXEL_MM)
    assert dice(mask, brain) > 0.9


@pytest.mark.parametrize("weights", [(1.0, 0.5, -0.3), (-0.4, 1.0, 0.2), (0.3, -0.5, 1.0)])
def test_a_field_of_40_percent_does_not_change_the_mask_of_a_noisy_scan(shared_data, weights):
    dwi, shells, voxel_size_mm = load(shared_data / "ds000114-trunc-4mm")
    mask = estimate_brain_mask(dwi, shells, voxel_size_mm)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in mask.shape), indexing="ij")
    slope = sum(weight * axis for weight, axis in zip(weights, axes, strict=True))
    field = 1 + 0.4 * (slope / np.abs(slope[mask]).max()).clip(-1, 1)
    biased = (dwi * field[..., None]).astype(np.float32)
    assert dice(estimate_brain_mask(biased, shells, voxel_size_mm), mask) > 0.92


@pytest.mark.parametrize("tilt", [(1.0, 0.5, -0.3), (-0.2, 0.3, 1.0)])
def test_bias_and_dropout_leave_the_mask_of_the_phantom_right(tilt):
    shape, shells = (24, 24, 20), {0: 2, 1000: 8}
    phantom = make_phantom(shape, 3.0, shells=shells, affine=make_affine(shape, 3.0, "RAS"))
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    slope = sum(weight * axis for weight, axis in zip(tilt, axes, strict=True))
    dwi = phantom.dwi * (1 + 0.4 * slope / np.abs(slope).max())[..., None]
    dwi[:, :, 8, 0] = dwi[:, :, 5:7, 4] = dwi[:, :, 12, 6] = 0
    mask = estimate_brain_mask(
        dwi.astype(np.float32), cluster_shells(phantom.bvals), (3.0, 3.0, 3.0)
    )
    assert dice(mask, phantom.mask) > 0.95


@pytest.mark.parametrize("n_slice", [1, 2, 4])
def test_a_slab_of_few_slices_has_its_mask(n_slice):
    shape = (24, 24, 20)
    phantom = make_phantom(shape, 3.0, shells={0: 2, 1000: 8}, affine=make_affine(shape, 3.0))
    part = (slice(None), slice(None), slice(9, 9 + n_slice))
    mask = estimate_brain_mask(phantom.dwi[part], cluster_shells(phantom.bvals), (3.0, 3.0, 3.0))
    assert dice(mask, phantom.mask[part]) > 0.95


def test_brightness_does_not_matter(head):
    mask = estimate_brain_mask(head[0], SHELLS, VOXEL_MM)
    brighter = estimate_brain_mask(head[0] * 7, SHELLS, VOXEL_MM)
    assert dice(mask, brighter) > 0.999


def test_the_mask_drawn_for_a_real_scan_is_found(shared_data):
    folder = shared_data / "tractor-12dir"
    mask = estimate_brain_mask(*load(folder))
    (file,) = folder.glob("derivatives/source-masks/sub-01/dwi/*_mask.nii.gz")
    drawn = nib.load(file).get_fdata() > 0
    assert dice(mask, drawn) > 0.92  # MRtrix3's dwi2mask: 0.934


def test_a_downsampled_brain_has_the_volume_of_a_brain(shared_data):
    dwi, shells, voxel_size_mm = load(shared_data / "ds000114-trunc-4mm")
    mask = estimate_brain_mask(dwi, shells, voxel_size_mm)
    assert 1000 < mask.sum() * np.prod(voxel_size_mm) / 1000 < 1500


def test_a_crop_inside_the_brain_is_all_brain(shared_data, caplog):
    with caplog.at_level(logging.WARNING):
        mask = estimate_brain_mask(*load(shared_data / "mrtrix3-msmt-crop"))
    assert mask.mean() > 0.98
    assert "show no background" in caplog.text


def test_an_empty_mask_is_refused():
    mask = np.zeros((5, 5, 5), dtype=bool)
    with pytest.raises(MaskError, match=r"There are 0 voxels in mask.nii.gz, expected at least 50"):
        check_mask(mask, (5, 5, 5), source="mask.nii.gz")


def test_a_mask_of_another_grid_is_refused():
    with pytest.raises(MaskError, match=r"shape of mask.nii.gz is \(5, 5, 5\).*\(6, 5, 5\)"):
        check_mask(np.ones((5, 5, 5), dtype=bool), (6, 5, 5), source="mask.nii.gz")
