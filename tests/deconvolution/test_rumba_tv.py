"""RUMBA's iteration with total variation is DIPY's, in less memory."""

import numpy as np
import pytest
from dipy.reconst.rumba import rumba_deconv_global

from shd_bids.deconvolution import rumba_tv
from shd_bids.deconvolution.rumba_tv import deconvolve_with_tv

N_ITER = 20


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 0.9, (5, 6, 4, 12)).astype(np.float32)


@pytest.fixture
def kernel() -> np.ndarray:
    kernel = np.random.default_rng(1).uniform(0.1, 1.0, (12, 9)).astype(np.float32)
    kernel[0] = 1.0
    kernel[:, 7] = 0.0  # a tissue that has no response
    return kernel


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.random.default_rng(2).random((5, 6, 4)) < 0.8
    mask[:, 0] = False
    return mask


def test_fractions_are_those_of_dipy(data: np.ndarray, kernel: np.ndarray, mask: np.ndarray):
    theirs = rumba_deconv_global(data, kernel, mask, n_iter=N_ITER, use_tv=True)[mask]
    ours = deconvolve_with_tv(data[mask], kernel, mask, n_iter=N_ITER)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(ours.sum(axis=1), 1.0, atol=1e-5)
    assert not ours[:, 7].any()


def test_threads_and_chunks_change_nothing(
    data: np.ndarray, kernel: np.ndarray, mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    alone = deconvolve_with_tv(data[mask], kernel, mask, n_iter=N_ITER)
    monkeypatch.setattr(rumba_tv, "_CHUNK", 17)
    together = deconvolve_with_tv(data[mask], kernel, mask, n_iter=N_ITER, n_threads=3)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_empty_space_around_changes_nothing(data: np.ndarray, kernel: np.ndarray, mask: np.ndarray):
    near = deconvolve_with_tv(data[mask], kernel, mask, n_iter=N_ITER)
    wide = np.pad(mask, ((2, 1), (3, 0), (0, 4)))
    far = deconvolve_with_tv(data[mask], kernel, wide, n_iter=N_ITER)
    np.testing.assert_array_equal(far, near)
