"""Connectomes equal MRtrix3's, whatever the image's axes, and say what they lost."""

import subprocess

import numpy as np
import pytest
from tractography.fodfs import AFFINES, save_image

from shd_bids.errors import TrackingError
from shd_bids.tractography.connectome import RegionFinder, build_connectome, mean_along
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import read_batches, write_tck

SHAPE = (14, 12, 10)
NUMBERS = [7, 1, 12, 3]  # in no order, with gaps


def _labels() -> np.ndarray:
    """Return blobs with gaps between them and background around."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[1:4, 1:5, 2:8] = 7
    labels[9:13, 1:5, 2:8] = 1
    labels[2:12, 8:11, 1:4] = 12
    labels[6, 6, 6] = 3
    return labels


def _walks(affine: np.ndarray, n: int = 3000, seed: int = 0) -> list[np.ndarray]:
    """Return curved lines of many lengths, some of which leave the image."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(-3, np.array(SHAPE) + 2, size=(n, 2, 3))
    bend = rng.normal(size=(n, 1, 3))
    lines = []
    for (start, stop), side in zip(ends, bend, strict=True):
        along = np.sort(rng.uniform(0, 1, rng.integers(0, 30)))
        t = np.concatenate([[0], along, [1]])[:, None]
        line = start * (1 - t) + stop * t + side * t * (1 - t)
        lines.append((line @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32))
    return lines


def _build(lines, affine, *, weights=None, labels=None, radius_mm=4.0, afd=None):
    labels = _labels() if labels is None else labels
    finder = RegionFinder(labels, affine, NUMBERS, radius_mm=radius_mm)
    afd = np.ones(SHAPE, dtype=np.float32) if afd is None else afd
    batches = [Streamlines.of(lines[i : i + 700]) for i in range(0, len(lines), 700)]
    return build_connectome(
        batches, finder, len(NUMBERS), afd=afd, affine=affine, weights=weights
    )  # fmt: skip


@pytest.mark.needs_tool("tck2connectome")
@pytest.mark.parametrize(
    ("name", "radius_mm"), [*((name, 4.0) for name in AFFINES), ("oblique", 1.2)]
)
def test_matrices_equal_those_of_mrtrix3(name, radius_mm, tmp_path):
    affine = AFFINES[name]
    write_tck([Streamlines.of(_walks(affine))], tmp_path / "a.tck")
    save_image(_labels(), affine, tmp_path / "labels.nii")
    afd = np.random.default_rng(1).uniform(0.1, 1, SHAPE).astype(np.float32)
    save_image(afd, affine, tmp_path / "afd.nii")
    weights = np.random.default_rng(2).uniform(0, 3, 3000).astype(np.float32)
    np.savetxt(tmp_path / "weights.txt", weights, fmt="%.9g")

    def mrtrix(*options: str) -> np.ndarray:
        command = ["tck2connectome", "a.tck", "labels.nii", "out.csv", "-symmetric", "-force"]
        radius = ["-assignment_radial_search", str(radius_mm), "-quiet"]
        subprocess.run([*command, *radius, *options], cwd=tmp_path, check=True)
        matrix = np.loadtxt(tmp_path / "out.csv", delimiter=",")
        rows = np.array(NUMBERS) - 1
        return matrix[np.ix_(rows, rows)]

    lines = [line for batch in read_batches(tmp_path / "a.tck") for line in batch]
    ours = _build(lines, affine, weights=weights, radius_mm=radius_mm, afd=afd)
    joined = ours.count > 0
    np.testing.assert_array_equal(ours.count, mrtrix())
    theirs = mrtrix("-scale_length", "-stat_edge", "mean")
    np.testing.assert_allclose(ours.mean_length_mm[joined], theirs[joined], rtol=1e-5)
    theirs = mrtrix("-tck_weights_in", "weights.txt")
    np.testing.assert_allclose(ours.weight_sum, theirs, rtol=1e-5)


@pytest.mark.needs_tool("tcksample")
@pytest.mark.parametrize("name", AFFINES)
def test_the_mean_along_a_streamline_equals_that_of_mrtrix3(name, tmp_path):
    affine = AFFINES[name]
    centre = np.array(SHAPE) / 2
    middle = affine[:3, :3] @ centre + affine[:3, 3]
    lines = [(middle + 0.4 * (line - middle)).astype(np.float32) for line in _walks(affine, 300)]
    write_tck([Streamlines.of(lines)], tmp_path / "a.tck")
    image = np.random.default_rng(1).uniform(0.1, 1, SHAPE).astype(np.float32)
    save_image(image, affine, tmp_path / "afd.nii")
    command = ["tcksample", "a.tck", "afd.nii", "out.txt", "-stat_tck", "mean", "-quiet"]
    subprocess.run(command, cwd=tmp_path, check=True)
    ours = mean_along(Streamlines.of(lines), image, affine)
    np.testing.assert_allclose(ours, np.loadtxt(tmp_path / "out.txt").ravel(), rtol=1e-4)


def test_the_nearest_voxel_is_found_within_a_voxel_too():
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    labels = np.zeros((3, 1, 1), dtype=np.int64)
    labels[0], labels[2] = 2**31, 5
    find = RegionFinder(labels, affine, [5, 2**31], radius_mm=4.0)
    points = np.array([[3.9, 0, 0], [4.1, 0, 0], [4.0, 0.1, 0], [-3.9, 0, 0], [-4.0, 0, 0]])
    # All but the last two lie in the unlabelled voxel between; at 4 mm or more is out of reach.
    assert find(points).tolist() == [1, 0, -1, 1, -1]


def test_the_order_of_ends_and_of_batches_does_not_matter():
    affine = AFFINES["oblique"]
    lines = _walks(affine, 500)
    forth, back = _build(lines, affine), _build([line[::-1] for line in lines[::-1]], affine)
    np.testing.assert_array_equal(forth.count, back.count)
    np.testing.assert_allclose(forth.mean_length_mm, back.mean_length_mm)
    np.testing.assert_allclose(forth.mean_afd, back.mean_afd, rtol=1e-6)
    np.testing.assert_array_equal(forth.count, forth.count.T)


def test_every_streamline_and_every_end_is_accounted_for():
    affine = AFFINES["las"]
    found = _build(_walks(affine, 500), affine)
    joined = np.triu(found.count).sum()
    assert found.n_streamlines == 500
    assert joined + found.n_lost == 500
    assert 2 * joined <= found.n_ends.sum() <= 1000
    assert found.count.diagonal().any()


def test_the_mean_afd_of_a_constant_map_is_the_constant():
    affine = AFFINES["ras"]
    found = _build(_walks(affine, 500), affine, afd=np.full(SHAPE, 0.3, dtype=np.float32))
    np.testing.assert_allclose(found.mean_afd[found.count > 0], 0.3, rtol=1e-6)


def test_a_single_point_has_the_mean_of_its_place():
    image = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    batch = Streamlines.of([np.zeros((1, 3)), np.array([[0, 0, 0], [1, 1, 1.0]]), np.ones((1, 3))])
    np.testing.assert_allclose(mean_along(batch, image, np.eye(4)), [0, 3.5, 7])


@pytest.mark.parametrize("what", ["no streamline", "no label", "no label in reach"])
def test_nothing_joined_gives_zeros_and_is_said(what, caplog):
    affine = AFFINES["ras"]
    lines = [] if what == "no streamline" else _walks(affine, 50)
    labels = np.zeros(SHAPE, dtype=np.int32) if what == "no label" else None
    if what == "no label in reach":
        lines = [line + 100 for line in lines]
    found = _build(lines, affine, labels=labels, weights=np.ones(len(lines), dtype=np.float32))
    assert found.count.sum() == found.weight_sum.sum() == found.n_ends.sum() == 0
    assert found.n_lost == len(lines)
    assert np.isnan(found.mean_length_mm).all()
    assert f"None of {len(lines)} streamlines joins two regions" in caplog.text


@pytest.mark.parametrize("n_weight", [3, 700, 2000])
def test_weights_of_another_tractogram_are_refused(n_weight):
    affine = AFFINES["ras"]
    with pytest.raises(TrackingError, match=f"{n_weight} weights for 1000 streamlines"):
        _build(_walks(affine, 1000), affine, weights=np.ones(n_weight, dtype=np.float32))


def test_a_radius_of_nothing_is_refused():
    with pytest.raises(TrackingError, match=r"within 0 mm.*--assignment-radius-mm"):
        _build([], np.eye(4), radius_mm=0.0)
