"""A head that moves while it is scanned: the analytic anatomy seen at displaced points."""

import numpy as np

from shd_bids.dwi.transforms import PhaseEncoding, VolumeTransforms, voxel_matrix
from shd_bids.testing.geometry import (
    ASSOCIATION_INTRA_FRACTION,
    BUNDLES,
    FIELD_OF_VIEW_MM,
    sample_anatomy,
)
from shd_bids.testing.kernels import DIFFUSIVITY, S0, add_rician_noise, fibre_signal

INTRA = np.array([bundle.intra_fraction for bundle in BUNDLES] + [ASSOCIATION_INTRA_FRACTION])


def scan_head(shape, affine, gradients, transforms, *, snr=25.0, seed=0):
    """Scan, by the convention of the transforms; give the series and where the brain should be."""
    scale = np.min(np.linalg.norm(affine[:3, :3], axis=0) * shape / FIELD_OF_VIEW_MM)
    dwi = np.zeros((*shape, gradients.n_volume))
    for volume, turn in enumerate(transforms.rotations()):
        matrix = np.linalg.inv(voxel_matrix(transforms, volume, affine, shape, 1))
        points = _points_mm(shape, affine, matrix) / scale
        in_head = turn.T @ gradients.bvecs_ras[volume]
        dwi[..., volume] = _signal(points, gradients.bvals[volume], in_head).reshape(shape)
        dwi[..., volume] /= 1 + transforms.eddy[volume, 1]
    noisy = add_rician_noise(dwi, S0["WM"] / snr, np.random.default_rng(seed))
    tissue = sample_anatomy(_points_mm(shape, affine, np.eye(4)) / scale).tissue
    return noisy.astype(np.float32), (tissue.sum(axis=1) > 0.5).reshape(shape)


def random_transforms(shells, *, mm, degrees, eddy, seed=0):
    """Draw a position for every volume but the first; eddy currents for the weighted ones."""
    random, n_volume = np.random.default_rng(seed), len(shells.index)
    translation = random.uniform(-mm, mm, (n_volume, 3))
    rotation = np.deg2rad(random.uniform(-degrees, degrees, (n_volume, 3)))
    currents = random.uniform(-eddy, eddy, (n_volume, 4)) * (shells.index > 0)[:, None]
    translation[0] = rotation[0] = 0
    return VolumeTransforms(translation, rotation, currents)


def encodings(n_volume, axis=1):
    return [PhaseEncoding(axis, 1, 0.05)] * n_volume


def _points_mm(shape, affine, matrix):
    grid = np.indices(shape).reshape(3, -1).T @ matrix[:3, :3].T + matrix[:3, 3]
    return (grid - (np.array(shape) - 1) / 2) @ affine[:3, :3].T


def _signal(points_mm, bval, direction):
    anatomy = sample_anatomy(points_mm)
    signal = np.zeros(len(points_mm))
    for index, name in enumerate(("GM", "CSF"), start=1):
        signal += anatomy.tissue[:, index] * S0[name] * np.exp(-DIFFUSIVITY[name] * bval)
    fibres = fibre_signal(np.float64(bval)[None, None], anatomy.direction @ direction, INTRA[None])
    return signal + anatomy.tissue[:, 0] * S0["WM"] * (anatomy.share * fibres).sum(axis=1)
