"""b-values fall into shells, and data without shells are refused."""

import numpy as np
import pytest

from shd_bids.dwi.shells import cluster_shells
from shd_bids.errors import GradientTableError


def shared_bvals(folder) -> np.ndarray:
    (file,) = folder.glob("sub-01/**/*_dwi.bval")
    return np.loadtxt(file).ravel()


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("ds000114-trunc-4mm", "7 x b=0, 13 x b=1000"),
        ("nlsam-invivo-1p8mm", "1 x b=0, 64 x b=1000"),
        ("tractor-12dir", "1 x b=0, 12 x b=1000"),
        ("mrtrix3-msmt-crop", "6 x b=0, 16 x b=700, 30 x b=1200, 50 x b=2800"),
    ],
)
def test_real_protocols_have_the_shells_of_their_readme(name, described, shared_data):
    assert cluster_shells(shared_bvals(shared_data / name)).describe() == described


def test_diffusion_spectrum_imaging_is_refused(shared_data):
    with pytest.raises(GradientTableError, match=r"no shells: found 12 groups .* 308 to 4000"):
        cluster_shells(shared_bvals(shared_data / "gdimap-dsi203-slab"))


def test_every_volume_belongs_to_the_shell_nearest_to_it():
    rng = np.random.default_rng(0)
    centres = np.array([0.0, 500.0, 1000.0, 3000.0])
    truth = rng.permutation(np.repeat(np.arange(4), 10))
    shells = cluster_shells(np.abs(centres[truth] + rng.uniform(-30, 30, truth.size)))
    np.testing.assert_array_equal(shells.index, truth)
    np.testing.assert_allclose(shells.bvals, centres, atol=30)


def test_the_order_of_volumes_does_not_matter():
    bvals = np.array([0, 5, *[990] * 7, *[1010] * 7, *[2000] * 8], dtype=float)
    order = np.random.default_rng(1).permutation(len(bvals))
    straight, shuffled = cluster_shells(bvals), cluster_shells(bvals[order])
    np.testing.assert_array_equal(shuffled.index, straight.index[order])


def test_counts_and_volumes_tell_the_same():
    shells = cluster_shells(np.array([0.0] * 2 + [1000.0] * 8 + [2500.0] * 6))
    assert [len(shells.volumes(shell)) for shell in range(shells.n_shell)] == [2, 8, 6]
    np.testing.assert_array_equal(shells.counts, [2, 8, 6])


def test_b_values_spread_without_a_gap_are_refused():
    with pytest.raises(GradientTableError, match=r"spread without a gap from 200 to 3000"):
        cluster_shells(np.concatenate([[0.0], np.arange(200.0, 3001.0, 70.0)]))


def test_a_small_shell_is_refused():
    with pytest.raises(
        GradientTableError, match=r"shell at b=500 has 3 volumes, expected at least"
    ):
        cluster_shells(np.array([0.0] + [500.0] * 3 + [1000.0] * 12))


def test_no_b0_is_refused():
    with pytest.raises(GradientTableError, match=r"No b=0 volume: the smallest b-value is 1000"):
        cluster_shells(np.full(12, 1000.0))


def test_nothing_but_b0_is_refused():
    with pytest.raises(GradientTableError, match=r"All 12 volumes count as b=0"):
        cluster_shells(np.zeros(12))
