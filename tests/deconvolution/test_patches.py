"""The scan in its box, and random cubes of it."""

import numpy as np
import pytest
import torch
from deconvolution.scans import signal_model

from shd_bids.deconvolution.patches import MaskedScan, PatchSampler, _find_neighbours, crop_to_mask
from shd_bids.deconvolution.physics import Physics
from shd_bids.errors import MaskError


class _Doubling(Physics):
    """Stands in for an acquisition: its start is the first volume plus one."""

    def start(self, dwi: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        return (dwi[:, :1] + 1.0) * (dwi[:, :1] != 0)


def _numbered_scan(*, n_view: int = 1) -> tuple[np.ndarray, np.ndarray, MaskedScan]:
    dwi = np.arange(1.0, 6 * 5 * 4 * 2 + 1).reshape(6, 5, 4, 2)
    mask = np.zeros((6, 5, 4), dtype=bool)
    mask[1:4, 2:5, 1:3] = True
    mask[1, 2, 1] = False
    views = [_Doubling(signal_model(), 2, np.eye(3)) for _ in range(n_view)]
    return dwi, mask, crop_to_mask(dwi, mask, 2.0, views)


def test_the_box_is_the_smallest_that_holds_the_mask() -> None:
    dwi, mask, scan = _numbered_scan()
    box = np.s_[1:4, 2:5, 1:3]
    np.testing.assert_array_equal(scan.mask.numpy(), mask[box])
    expected = np.where(mask[..., None], dwi / 2.0, 0.0)[box]
    np.testing.assert_allclose(scan.dwi[scan.row].numpy(), expected)


def test_rows_are_in_the_order_of_the_mask() -> None:
    dwi, mask, scan = _numbered_scan()
    np.testing.assert_allclose(scan.dwi[1:].numpy(), dwi[mask] / 2.0)


def test_the_start_is_solved_inside_the_mask_alone() -> None:
    _, _, scan = _numbered_scan()
    patch = scan.patch(scan.row.unsqueeze(0), scan.views[0])
    expected = (patch.dwi[..., :1] + 1.0) * patch.mask.unsqueeze(-1)
    torch.testing.assert_close(patch.start, expected)


def test_a_scan_is_trained_on_the_views_that_hide_something() -> None:
    assert len(_numbered_scan()[2].training_views) == 1
    scan = _numbered_scan(n_view=3)[2]
    assert scan.training_views == scan.views[1:]
    sampler = PatchSampler([scan], 2, torch.Generator().manual_seed(0))
    drawn = {id(sampler.draw(1).physics) for _ in range(30)}
    assert drawn == {id(view.physics) for view in scan.training_views}


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(MaskError, match="brain mask is empty"):
        crop_to_mask(np.ones((2, 2, 2, 3)), np.zeros((2, 2, 2), dtype=bool), 1.0, [])


@pytest.mark.parametrize("patch", [2, 3, 8])
def test_a_patch_is_a_cube_of_the_scan_and_zero_beyond_it(patch: int) -> None:
    _, _, scan = _numbered_scan()
    drawn = PatchSampler([scan], patch, torch.Generator().manual_seed(0)).draw(10)
    dwi, start, mask = drawn.dwi, drawn.start, drawn.mask
    assert dwi.shape == (10, patch, patch, patch, 2)
    assert mask.flatten(1).any(dim=1).all()
    assert not dwi[~mask].any()
    known = scan.dwi[1:]
    for voxel in dwi[mask]:
        assert (known == voxel).all(dim=1).any()
    torch.testing.assert_close(start[mask][:, 0], dwi[mask][:, 0] + 1.0)


def test_neighbours_in_a_patch_are_neighbours_in_the_scan() -> None:
    _, _, scan = _numbered_scan()
    drawn = PatchSampler([scan], 3, torch.Generator().manual_seed(0)).draw(20)
    dwi, mask = drawn.dwi, drawn.mask
    both = mask[:, 1:] & mask[:, :-1]
    step = (dwi[:, 1:] - dwi[:, :-1])[both]
    torch.testing.assert_close(step, torch.full_like(step, 5 * 4 * 2 / 2.0))


def test_the_draw_follows_the_seed_and_reaches_every_voxel() -> None:
    _, _, scan = _numbered_scan()
    first, again, other = (
        PatchSampler([scan], 3, torch.Generator().manual_seed(seed)).draw(50).dwi
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    known = scan.dwi[1:, 0]
    assert torch.isin(known, first).all()


def test_each_scan_is_drawn_as_often_as_it_has_voxels() -> None:
    small, large = (
        _numbered_scan()[2],
        crop_to_mask(
            np.ones((9, 9, 9, 2)),
            np.ones((9, 9, 9), dtype=bool),
            1.0,
            [_Doubling(signal_model(), 2, np.eye(3))],
        ),
    )
    sampler = PatchSampler([small, large], 2, torch.Generator().manual_seed(0))
    physics = [sampler.draw(1).physics for _ in range(1000)]
    share = np.mean([found is small.views[0].physics for found in physics])
    expected = len(small.dwi) / (len(small.dwi) + len(large.dwi))
    assert abs(share - expected) < 4 * np.sqrt(expected / 1000)


def test_neighbours_are_those_of_the_scan_or_nobody() -> None:
    _, _, scan = _numbered_scan()
    neighbours = _find_neighbours(scan.row.numpy())
    where = np.argwhere(scan.row.numpy() > 0)
    assert not neighbours[0].any()
    for voxel, row in zip(where, scan.row[scan.mask].tolist(), strict=True):
        for axis in range(3):
            for side, step in enumerate((-1, 1)):
                other = voxel + step * np.eye(3, dtype=int)[axis]
                inside = (other >= 0).all() and (other < scan.row.shape).all()
                expected = scan.row[tuple(other)] if inside else 0
                assert neighbours[row, 2 * axis + side] == expected
