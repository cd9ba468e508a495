"""The acquisition as a network meets it: all of its volumes, or some."""

import numpy as np
import torch
from deconvolution.scans import TINY, signal_model, tiny_physics, tiny_signal

from shd_bids.deconvolution.physics import Physics, hide_directions

MODEL = signal_model()
ALONE = torch.zeros(12, 6, dtype=torch.int64)
SHELLS = np.array([0, 1, 1, 1, 1, 1, 0, 2, 2, 2])


def test_every_direction_is_hidden_once_and_b0_never() -> None:
    seen = np.stack(hide_directions(SHELLS, 3, 3, torch.Generator().manual_seed(0)))
    assert seen.shape == (3, len(SHELLS))
    np.testing.assert_array_equal((~seen).sum(axis=0), SHELLS > 0)


def test_every_shell_is_dealt_out_evenly() -> None:
    seen = np.stack(hide_directions(SHELLS, 3, 3, torch.Generator().manual_seed(0)))
    for shell in (1, 2):
        hidden = (~seen[:, shell == SHELLS]).sum(axis=1)
        assert hidden.max() - hidden.min() <= 1


def test_fewer_views_than_parts_hide_some_directions_never() -> None:
    seen = np.stack(hide_directions(SHELLS, 4, 2, torch.Generator().manual_seed(0)))
    assert seen.shape == (2, len(SHELLS))
    assert (~seen).sum(axis=0).max() == 1
    assert seen[:, SHELLS == 1].all(axis=0).any()


def test_a_short_scan_is_shown_instead_if_asked() -> None:
    seen = np.stack(hide_directions(SHELLS, 4, 4, torch.Generator().manual_seed(0), 2))
    assert seen[:, SHELLS == 0].all()
    for shell in (1, 2):
        np.testing.assert_array_equal(seen[:, shell == SHELLS].sum(axis=1), 2)
    assert len(np.unique(seen, axis=0)) > 1


def test_no_views_hide_nothing() -> None:
    assert hide_directions(SHELLS, 3, 0, torch.Generator()) == []
    assert not tiny_physics(MODEL).hides


def test_what_is_hidden_does_not_enter() -> None:
    seen = np.arange(len(MODEL.kernel)) % 4 != 3
    physics = tiny_physics(MODEL, seen)
    signal = torch.as_tensor(tiny_signal(MODEL, (3, 2, 2)) / MODEL.scale)
    disturbed = signal + 5.0 * ~torch.as_tensor(seen)
    assert physics.hides
    for measured in (physics.interpolate, lambda dwi: physics.start(dwi.flatten(0, 3), ALONE)):
        torch.testing.assert_close(measured(disturbed[None]), measured(signal[None]))
    coefficients = torch.rand(1, 3, 2, 2, MODEL.kernel.shape[1])
    matched = physics.match_b0(coefficients, signal[None])
    torch.testing.assert_close(physics.match_b0(coefficients, disturbed[None]), matched)


def test_the_start_without_some_volumes_is_that_of_a_shorter_scan() -> None:
    seen = np.arange(len(MODEL.kernel)) % 5 != 4
    signal = torch.as_tensor(tiny_signal(MODEL, (3, 2, 2)) / MODEL.scale).flatten(0, 2)
    full, part = tiny_physics(MODEL), tiny_physics(MODEL, seen)
    full.dictionary, full.seen = full.dictionary[torch.as_tensor(seen)], part.seen
    expected = full.start(signal, ALONE)
    torch.testing.assert_close(part.start(signal, ALONE), expected, atol=1e-4, rtol=1e-3)
    assert expected.shape[1] == 6 * TINY.n_side**2 + 1


def test_without_axes_each_voxel_starts_alone() -> None:
    signal = torch.as_tensor(tiny_signal(MODEL, (1, 1, 12), noise=0.1) / MODEL.scale).flatten(0, 2)
    signal[0] = 0.0
    neighbours = torch.zeros(12, 6, dtype=torch.int64)
    neighbours[1:, 0] = torch.arange(11)
    alone = Physics(MODEL, TINY.n_side, None)
    torch.testing.assert_close(alone.start(signal, neighbours), alone.start(signal, ALONE))
    together = tiny_physics(MODEL)
    assert not torch.allclose(together.start(signal, neighbours), together.start(signal, ALONE))
