"""A table whose axes are swapped or flipped is found; where fibres cannot tell, nothing is said."""

import logging
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from shd_bids.dwi.gradients import GradientTable, read_fsl_gradients, write_fsl_gradients
from shd_bids.dwi.images import load_dwi
from shd_bids.dwi.mask import estimate_brain_mask
from shd_bids.dwi.orientation import AXIS_CHANGES, check_orientation
from shd_bids.dwi.shells import Shells, cluster_shells
from shd_bids.testing.phantom import make_affine, make_phantom
from shd_bids.testing.scheme import make_scheme

SHAPE, VOXEL_MM, N_LOOP = (28, 28, 26), 2.5, 9
BVALS, BVECS = make_scheme({0: 2, 1000: 20}, seed=3)
SHELLS = cluster_shells(BVALS)
MASK = np.ones(SHAPE, dtype=bool)


@cache
def loops(orientation: str) -> np.ndarray:
    """Scan thin loops of fibres, any way up, in grey matter."""
    affine = make_affine(SHAPE, VOXEL_MM, orientation)
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) @ affine[:3, :3].T
    points = grid + affine[:3, 3]
    centre = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    along = np.zeros(points.shape)
    for _ in range(N_LOOP):
        turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        local = (points - centre - rng.uniform(-14, 14, size=3)) @ turned
        around = np.hypot(local[..., 0], local[..., 1])
        near = np.hypot(around - rng.uniform(10, 16), local[..., 2]) < 4
        tangent = np.stack([-local[..., 1], local[..., 0], 0 * around], axis=-1) @ turned.T
        along[near] = (tangent / np.maximum(around, 1e-9)[..., None])[near]
    is_fibre = np.linalg.norm(along, axis=-1, keepdims=True) > 0.5
    cosine = along @ BVECS.T
    decay = np.where(is_fibre, 0.3 + 1.2 * cosine**2, 0.8)
    signal = 1000 * np.exp(-1e-3 * BVALS * decay)
    return np.abs(signal + rng.normal(scale=30, size=signal.shape)).astype(np.float32)


@pytest.fixture(scope="module", params=["RAS", "LAS", "oblique"])
def scan(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return loops(request.param), make_affine(SHAPE, VOXEL_MM, request.param)


def test_the_right_table_is_confirmed(scan):
    dwi, affine = scan
    check = check_orientation(dwi, GradientTable(BVALS, BVECS), SHELLS, MASK, affine)
    assert check.is_right
    assert "fit the images" in check.describe()


def test_there_are_24_different_changes():
    flat = AXIS_CHANGES.reshape(24, 9)
    same = np.abs(flat @ flat.T) > 2.5
    np.testing.assert_array_equal(same, np.eye(24, dtype=bool))
    np.testing.assert_array_equal(AXIS_CHANGES[0], np.eye(3))


@pytest.mark.parametrize("change", range(1, 24))
def test_every_wrong_table_is_found_and_its_remedy_named(change, tmp_path, caplog):
    orientation = ("RAS", "oblique")[change % 2]
    affine = make_affine(SHAPE, VOXEL_MM, orientation)
    axes = affine[:3, :3] / VOXEL_MM
    wrong = GradientTable(BVALS, BVECS @ axes @ AXIS_CHANGES[change].T @ axes.T)
    with caplog.at_level(logging.WARNING):
        check = check_orientation(loops(orientation), wrong, SHELLS, MASK, affine)
    assert check.is_wrong
    assert "DO NOT FIT" in caplog.text

    files = tmp_path / "dwi.bval", tmp_path / "dwi.bvec"
    write_fsl_gradients(wrong, affine, *files)
    given = dict(zip("xyz", np.loadtxt(files[1]), strict=True))
    rows = check.rows[check.best].split(", ")
    np.savetxt(files[1], [given[row[-1]] * (-1 if row[0] == "-" else 1) for row in rows])
    mended = read_fsl_gradients(*files, affine).bvecs_ras
    weighted = BVALS > 0
    cosine = np.abs((mended * BVECS)[weighted].sum(axis=1))
    np.testing.assert_allclose(cosine, 1, atol=1e-6)


def test_noise_tells_nothing():
    noise = np.random.default_rng(0).normal(scale=200, size=(24, 24, 20, len(BVALS)))
    dwi = np.abs(1000 * np.exp(-0.8e-3 * BVALS) + noise).astype(np.float32)
    mask, affine = np.ones(dwi.shape[:3], dtype=bool), make_affine((24, 24, 20), 2.0)
    check = check_orientation(dwi, GradientTable(BVALS, BVECS), SHELLS, mask, affine)
    assert not check.can_tell
    assert "cannot be told" in check.describe()


def test_a_few_voxels_tell_nothing(scan):
    dwi, affine = scan
    few = np.zeros(SHAPE, dtype=bool)
    few[10:16, 10:16, 10:13] = True
    check = check_orientation(dwi, GradientTable(BVALS, BVECS), SHELLS, few, affine)
    assert not check.can_tell
    assert "expected at least 200" in check.describe()


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "oblique"])
def test_the_phantom_raises_no_false_alarm(orientation):
    """Most of its white matter is one even field, in which every table is as coherent."""
    shape = (24, 24, 20)
    affine = make_affine(shape, 3.0, orientation)
    phantom = make_phantom(shape, 3.0, shells={0: 2, 1000: 20}, affine=affine)
    table = GradientTable(phantom.bvals, phantom.bvecs_ras)
    shells = cluster_shells(phantom.bvals)
    assert not check_orientation(phantom.dwi, table, shells, phantom.mask, affine).is_wrong


@pytest.mark.parametrize("name", ["ds000114-trunc-4mm", "tractor-12dir", "mrtrix3-msmt-crop"])
def test_tables_of_real_scans_are_confirmed(shared_data, name):
    dwi, table, shells, mask, affine = _load(shared_data / name)
    assert check_orientation(dwi, table, shells, mask, affine).is_right


@pytest.mark.parametrize("change", [1, 3, 8])
def test_wrong_tables_of_a_real_scan_are_found(shared_data, change):
    dwi, table, shells, mask, affine = _load(shared_data / "ds000114-trunc-4mm")
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    wrong = GradientTable(table.bvals, table.bvecs_ras @ axes @ AXIS_CHANGES[change].T @ axes.T)
    assert check_orientation(dwi, wrong, shells, mask, affine).is_wrong


def _load(folder) -> tuple[np.ndarray, GradientTable, Shells, np.ndarray, np.ndarray]:
    (file,) = folder.glob("sub-01/**/*_dwi.nii.gz")
    stem = str(file).removesuffix(".nii.gz")
    image = load_dwi(file)
    table = read_fsl_gradients(Path(f"{stem}.bval"), Path(f"{stem}.bvec"), image.affine)
    dwi, shells = np.asarray(image.dataobj), cluster_shells(table.bvals)
    x_mm, y_mm, z_mm = (float(mm) for mm in image.header.get_zooms()[:3])
    return dwi, table, shells, estimate_brain_mask(dwi, shells, (x_mm, y_mm, z_mm)), image.affine
