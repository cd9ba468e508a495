"""Images distorted by pushing signal along, which no code under test does."""

from functools import cache

import numpy as np
from scipy.ndimage import map_coordinates

from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms, voxel_matrix
from shd_bids.testing.kernels import S0
from shd_bids.testing.scan import make_affine
from shd_bids.testing.truth import sample_truth

_BUMPS = (  # centre in half fields of view, height, width: frontal sinus, ears, back
    ((0.0, 0.6, -0.45), 1.0, 1.0),
    ((-0.5, 0.05, -0.45), -0.75, 0.9),
    ((0.5, 0.05, -0.45), -0.75, 0.9),
    ((0.0, -0.5, -0.1), 0.35, 1.6),
)
_FINE = 8  # samples of signal per voxel along the phase axis


@cache
def true_head(shape=(24, 24, 20), voxel_mm=3.0, orientation="RAS"):
    """Give the b=0 image of the phantom, its mask and its affine."""
    affine = make_affine(shape, voxel_mm, orientation)
    tissue = sample_truth(shape, affine)[0].tissue
    image = tissue @ [S0[name] for name in ("WM", "GM", "CSF")]
    return image.astype(np.float32), tissue.sum(axis=-1) > 0.5, affine


def sinus_field(shape, affine, *, largest_hz=80.0, width_mm=9.0):
    """Give a smooth off-resonance field with the bumps of a head's air cavities, Hz."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    centred = (voxels - (np.array(shape) - 1) / 2) @ affine[:3, :3].T
    half = np.abs(affine[:3, :3]) @ np.array(shape) / 2
    field = np.zeros(shape)
    for centre, height, width in _BUMPS:
        squared = ((centred - np.array(centre) * half) ** 2).sum(axis=-1)
        field += height * largest_hz * np.exp(-squared / (2 * (width * width_mm) ** 2))
    return field


def distort(true, field_hz, encoding: PhaseEncoding, affine, transforms=None, volume=0):
    """Push fine samples of the moved head along the phase axis and add up what arrives."""
    axis, shape = encoding.axis, true.shape
    moved = VolumeTransforms.identity(volume + 1) if transforms is None else transforms
    back = np.linalg.inv(voxel_matrix(moved, volume, affine, shape, axis))
    fine_shape = [*shape]
    fine_shape[axis] *= _FINE
    grid = [np.arange(length, dtype=float) for length in shape]
    grid[axis] = (np.arange(fine_shape[axis]) + 0.5) / _FINE - 0.5
    seen = np.stack(np.meshgrid(*grid, indexing="ij")).reshape(3, -1)
    head = back[:3, :3] @ seen + back[:3, 3:]
    signal = map_coordinates(true, head, order=3).clip(0)
    field = map_coordinates(field_hz, head, order=3, mode="nearest")
    arrival = seen[axis] + encoding.sign * encoding.readout_s * field
    fine = (arrival + 0.5) * _FINE - 0.5
    lower = np.floor(fine).astype(int)
    observed, index = np.zeros(fine_shape), np.indices(fine_shape).reshape(3, -1)
    for cell, share in ((lower, lower + 1 - fine), (lower + 1, fine - lower)):
        inside = (cell >= 0) & (cell < fine_shape[axis])
        at = [lines[inside] for lines in index]
        at[axis] = cell[inside]
        np.add.at(observed, tuple(at), (signal * share)[inside])
    voxels = [*shape]
    voxels.insert(axis + 1, _FINE)
    return observed.reshape(voxels).mean(axis=axis + 1).astype(np.float32)


def add_noise(image, sigma, seed):
    """Give the magnitude of the image with complex noise."""
    noise = np.random.default_rng(seed).normal(0, sigma, (2, *image.shape))
    return np.hypot(image + noise[0], noise[1]).astype(np.float32)
