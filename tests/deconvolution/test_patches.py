"""The scan in its box, and random cubes of it."""

import numpy as np
import pytest
import torch

from shd_bids.deconvolution.patches import MaskedScan, PatchSampler, crop_to_mask
from shd_bids.errors import MaskError

CPU = torch.device("cpu")


def _numbered_scan() -> tuple[np.ndarray, np.ndarray, MaskedScan]:
    dwi = np.arange(1.0, 6 * 5 * 4 * 2 + 1).reshape(6, 5, 4, 2)
    mask = np.zeros((6, 5, 4), dtype=bool)
    mask[1:4, 2:5, 1:3] = True
    mask[1, 2, 1] = False
    return dwi, mask, crop_to_mask(dwi, mask, 2.0, CPU, lambda signal: signal[:, :1] + 1.0)


def test_the_box_holds_the_mask_and_says_where_it_lies() -> None:
    dwi, mask, scan = _numbered_scan()
    assert scan.origin == (1, 2, 1)
    assert scan.shape == (6, 5, 4)
    assert np.array_equal(scan.mask.numpy(), mask[scan.box])
    assert scan.mask.sum() == mask.sum()
    expected = np.where(mask[..., None], dwi / 2.0, 0.0)[scan.box]
    np.testing.assert_allclose(scan.dwi.numpy(), expected)


def test_the_start_is_solved_inside_the_mask_alone() -> None:
    _, _, scan = _numbered_scan()
    expected = (scan.dwi[..., :1] + 1.0) * scan.mask.unsqueeze(-1)
    torch.testing.assert_close(scan.start, expected)


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(MaskError, match="brain mask is empty"):
        crop_to_mask(np.ones((2, 2, 2, 3)), np.zeros((2, 2, 2), dtype=bool), 1.0, CPU, torch.clone)


@pytest.mark.parametrize("patch", [2, 3, 8])
def test_a_patch_is_a_cube_of_the_scan_and_zero_beyond_it(patch: int) -> None:
    _, _, scan = _numbered_scan()
    sampler = PatchSampler(scan, patch, torch.Generator().manual_seed(0))
    dwi, start, mask = sampler.draw(10)
    assert dwi.shape == (10, patch, patch, patch, 2)
    assert mask.flatten(1).any(dim=1).all()
    assert not dwi[~mask].any()
    known = scan.dwi[scan.mask]
    for voxel in dwi[mask]:
        assert (known == voxel).all(dim=1).any()
    torch.testing.assert_close(start[mask][:, 0], dwi[mask][:, 0] + 1.0)


def test_neighbours_in_a_patch_are_neighbours_in_the_scan() -> None:
    _, _, scan = _numbered_scan()
    dwi, _, mask = PatchSampler(scan, 3, torch.Generator().manual_seed(0)).draw(20)
    both = mask[:, 1:] & mask[:, :-1]
    step = (dwi[:, 1:] - dwi[:, :-1])[both]
    torch.testing.assert_close(step, torch.full_like(step, 5 * 4 * 2 / 2.0))


def test_the_draw_follows_the_seed_and_reaches_every_voxel() -> None:
    _, _, scan = _numbered_scan()
    first, again, other = (
        PatchSampler(scan, 3, torch.Generator().manual_seed(seed)).draw(50)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    known = scan.dwi[scan.mask][:, 0]
    assert torch.isin(known, first).all()
