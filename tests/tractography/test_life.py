"""LiFE's weights reflect how much of the signal a bundle makes, as DIPY's LiFE has it."""

import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.tracking.life import FiberModel
from tractography.fodfs import AFFINES
from tractography.straight_bundles import RATIO, RATIO_TOLERANCE, SHAPE, signal, two_bundles

from shd_bids.errors import TrackingError
from shd_bids.tractography.directions import spiral, tracking_sphere
from shd_bids.tractography.life import weigh_by_life
from shd_bids.tractography.streamlines import Streamlines

BVECS = spiral(40)
BVALS = np.full(40, 3000.0)


def _weigh(bundles, affine, *, max_gb=1.0, n_batch=1):
    lines = [line for bundle in bundles for line in bundle.lines]
    batches = [Streamlines.of(lines[i::n_batch]) for i in range(n_batch)]
    mask = np.any([bundle.inside for bundle in bundles], axis=0)
    return weigh_by_life(
        batches, signal(bundles, BVALS, BVECS), BVALS, BVECS, mask, affine, max_gb=max_gb
    )


@pytest.mark.parametrize(
    ("name", "apart"), [*((name, 3.0) for name in AFFINES), ("oblique-las-anisotropic", 0.0)]
)
def test_bundles_have_the_ratio_of_their_volumes(name, apart):
    bundles = two_bundles(AFFINES[name], (400, 300), apart=apart)
    weights = _weigh(bundles, AFFINES[name])
    assert weights.min() >= 0
    ratio = weights[:400].sum() / weights[400:].sum()
    assert ratio == pytest.approx(RATIO, rel=RATIO_TOLERANCE)


def test_the_misfit_is_not_larger_than_that_of_dipy():
    bundles = two_bundles(np.eye(4), (60, 60), apart=0.0)
    lines = [line for bundle in bundles for line in bundle.lines]
    measured = signal(bundles, BVALS, BVECS)
    table = gradient_table(
        np.concatenate([[0], BVALS]), bvecs=np.concatenate([[[0, 0, 0]], BVECS]), b0_threshold=10
    )
    data = np.concatenate([np.ones((*SHAPE, 1)), measured], axis=-1)
    model = FiberModel(table)
    fit = model.fit(data, lines, np.eye(4), sphere=False)
    ours = _weigh(bundles, np.eye(4))

    def misfit(weights):
        return np.linalg.norm(fit.life_matrix @ weights - fit.fit_data)

    assert misfit(ours) < 1.02 * misfit(fit.beta)


def test_too_many_streamlines_are_refused_with_what_would_fit():
    bundles = two_bundles(np.eye(4), (400, 300))
    n_voxel = np.count_nonzero(bundles[0].inside | bundles[1].inside)
    max_gb = 1e-9 * (16 * n_voxel * len(tracking_sphere()) + 60_000)
    with pytest.raises(TrackingError, match=r"about [23]\d\d streamlines in \d+ voxels would fit"):
        _weigh(bundles, np.eye(4), max_gb=max_gb, n_batch=10)


def test_streamlines_outside_weigh_nothing(caplog):
    lines = [np.array([[100.0, 0, 0], [101, 0, 0]])]
    flat = np.ones((3, 3, 3, 40), dtype=np.float32)
    mask = np.ones((3, 3, 3), dtype=bool)
    batches = [Streamlines.of(lines)]
    weights = weigh_by_life(batches, flat, BVALS, BVECS, mask, np.eye(4), max_gb=1.0)
    assert weights.tolist() == [0]
    assert "No streamline of 1 runs through the mask" in caplog.text
    assert len(weigh_by_life([], flat, BVALS, BVECS, mask, np.eye(4), max_gb=1.0)) == 0
