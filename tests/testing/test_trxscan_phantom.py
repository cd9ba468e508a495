"""An independent simulator agrees with our signs: field, phase encoding, motion, gradients."""

import numpy as np
import pytest

from shd_bids.dwi.transforms import VolumeTransforms
from shd_bids.testing.artefacts import ArtefactPhantom
from shd_bids.testing.epi import Scanner
from shd_bids.testing.scan import make_affine
from shd_bids.testing.trxscan_phantom import PHASE, make_trxscan_phantom

trxscan = pytest.importorskip("trxscan")

SHAPE, VOXEL_MM = (18, 18, 14), 4.0
SHELLS = {0: 2, 1000: 4}
STILL = VolumeTransforms.identity(1)


def simulate(orientation: str = "oblique", **kept) -> ArtefactPhantom:
    affine = make_affine(SHAPE, VOXEL_MM, orientation)
    return make_trxscan_phantom(SHAPE, VOXEL_MM, shells=SHELLS, snr=np.inf, affine=affine, **kept)


def our_image(phantom, volume, transforms=None, field_hz=0.0, bvec=None):
    """Predict a volume; by default of the head where the truth says and without field."""
    scanner = Scanner(SHAPE, phantom.scan.affine, field_hz, gibbs=True)
    transforms = phantom.truth.transforms if transforms is None else transforms
    bvec = phantom.scan.bvecs_ras[volume] if bvec is None else bvec
    at = volume if transforms.n_volume > 1 else 0
    signal = scanner.place_head(transforms, at).signal(phantom.scan.bvals[volume], bvec)
    return scanner.record(signal, transforms, at, PHASE)


def likeness(image, other, mask=...):
    return np.corrcoef(image[mask].ravel(), other[mask].ravel())[0, 1]


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "oblique"])
def test_a_field_displaces_to_the_same_side(orientation: str):
    phantom = simulate(orientation, motion_mm=0.0, motion_deg=0.0, field_hz=60.0)
    forth, back = (our_image(phantom, 0, STILL, field_hz=hz) for hz in (60.0, -60.0))
    observed, reverse = phantom.scan.dwi[..., 0], phantom.reverse_b0[..., 0]
    assert likeness(observed, forth) > likeness(observed, back) + 0.05
    assert likeness(reverse, back) > likeness(reverse, forth) + 0.05


@pytest.mark.parametrize("orientation", ["RAS", "oblique"])
def test_a_moved_head_is_found_in_the_same_place(orientation: str):
    phantom = simulate(orientation, motion_mm=6.0, motion_deg=15.0, field_hz=0.0)
    true = phantom.truth.transforms
    opposite = VolumeTransforms(-true.translation_mm, -true.rotation_rad, true.eddy)
    last = true.n_volume - 1
    observed = phantom.scan.dwi[..., last]
    right = likeness(observed, our_image(phantom, last))
    assert right > 0.95
    assert right > likeness(observed, our_image(phantom, last, STILL)) + 0.1
    assert right > likeness(observed, our_image(phantom, last, opposite)) + 0.1


def test_gradients_lie_in_the_same_axes_and_turn_with_the_head():
    phantom = simulate(motion_mm=0.0, motion_deg=20.0, field_hz=0.0)
    white = phantom.scan.truth.tissue[..., 0] > 0.95
    for volume in np.flatnonzero(phantom.scan.bvals > 0):
        seen = phantom.clean.bvecs_ras[volume]
        resting = phantom.noiseless[..., volume]
        right = likeness(resting, our_image(phantom, volume, STILL, bvec=seen), white)
        assert right > 0.85
        for flip in np.diag([-2.0, -2, -2]) + 1:
            flipped = our_image(phantom, volume, STILL, bvec=flip * seen)
            assert likeness(resting, flipped, white) < right
