"""The phantom with known bundles and end regions."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.errors import BidsDataError
from shd_bids.testing.bundles import TRACTS, BundleTruth, make_bundle_phantom
from shd_bids.testing.phantomas import make_phantomas
from shd_bids.testing.scan import Phantom

SHAPE, VOXEL_MM = (24, 24, 19), 3.0
SHELLS = {0: 1, 1000: 6}


@pytest.fixture(scope="module")
def scanned() -> tuple[Phantom, BundleTruth]:
    return make_bundle_phantom(SHAPE, VOXEL_MM, shells=SHELLS)


def test_every_bundle_runs_through_white_matter_to_two_regions_of_grey_matter(scanned):
    phantom, truth = scanned
    white, grey = phantom.truth.tissue[..., 0], phantom.truth.tissue[..., 1]
    assert truth.names == tuple(bundle.name for bundle in TRACTS)
    assert np.all(white[truth.masks.any(axis=0)] >= 0.5)
    assert np.all(grey[truth.ends.any(axis=(0, 1))] > 1 / 3)
    assert truth.masks.sum(axis=(1, 2, 3)).min() > 30
    assert truth.ends.sum(axis=(2, 3, 4)).min() >= 3


def test_white_matter_is_where_a_bundle_runs(scanned):
    phantom, truth = scanned
    white = phantom.truth.tissue[..., 0] > 0.9
    assert truth.masks.any(axis=0)[white].mean() > 0.99


def test_the_fibres_of_a_voxel_are_those_of_its_bundles(scanned):
    phantom, truth = scanned
    n_fibre = (phantom.truth.fractions > 0.2).sum(axis=-1)
    n_bundle = truth.masks.sum(axis=0)
    assert np.all(n_fibre[n_bundle == 1] >= 1)
    assert n_fibre[n_bundle == 2].mean() > n_fibre[n_bundle == 1].mean() + 0.5


def test_the_two_ends_of_a_bundle_are_apart(scanned):
    truth = scanned[1]
    for mask, (head, tail) in zip(truth.masks, truth.ends, strict=True):
        assert not np.any(head & tail)
        assert not np.any(mask & (head | tail))
        middles = [np.argwhere(end).mean(axis=0) * VOXEL_MM for end in (head, tail)]
        assert np.linalg.norm(middles[0] - middles[1]) > 15


def _write_challenge(folder: Path) -> Path:
    """One straight bundle along x through the middle, and a ball of fluid."""
    points = [-50.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0, 0.0, 0.0]
    geometry = {
        "fiber_geometries": {
            "one": {"radius": 6.0, "control_points": points, "tangents": "symmetric"}
        },
        "isotropic_regions": {"ball": {"radius": 10.0, "center": [0.0, 25.0, 0.0]}},
    }
    (folder / "isbi_challenge_2013.json").write_text(json.dumps(geometry))
    mask = np.zeros((55, 55, 55), dtype=np.uint8)
    mask[3:52, 24:31, 24:31] = 1
    for name, part in {
        "bundles/fiber_00": slice(None),
        "rois/00_head": slice(0, 6),
        "rois/00_tail": slice(49, 55),
    }.items():
        file = folder / f"{name}.nii.gz"
        file.parent.mkdir(exist_ok=True)
        image = np.zeros_like(mask)
        image[part] = mask[part]
        nib.save(nib.Nifti1Image(image, np.eye(4)), file)
    return folder


def test_the_challenge_is_scanned_where_its_masks_are(tmp_path: Path):
    phantom, truth = make_phantomas(_write_challenge(tmp_path), shells=SHELLS)
    middle, fluid = (27, 27, 27), (27, 39, 27)
    np.testing.assert_allclose(phantom.affine @ [*middle, 1], [0, 0, 0, 1])
    np.testing.assert_allclose(np.abs(phantom.truth.directions[middle][0]), [1, 0, 0], atol=0.01)
    np.testing.assert_allclose(phantom.truth.tissue[middle], [1, 0, 0], atol=0.01)
    np.testing.assert_allclose(phantom.truth.tissue[fluid], [0, 0, 1], atol=0.01)
    np.testing.assert_allclose(phantom.truth.tissue[27, 15, 27], [0, 1, 0], atol=0.01)
    white = phantom.truth.tissue[..., 0] > 0.5
    assert truth.masks[0][white].mean() > 0.95
    assert truth.ends.shape == (1, 2, 55, 55, 55)


def test_a_folder_without_the_challenge_is_refused(tmp_path: Path):
    with pytest.raises(BidsDataError, match=r"--phantomas needs"):
        make_phantomas(tmp_path)
