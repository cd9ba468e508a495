"""The loss: the authors' terms, and what each of them is blind to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from deconvolution.scans import apply, signal_model, tiny_network, tiny_physics, tiny_scan, whole
from sphere.reference import load_reference
from torch import Tensor

from shd_bids.deconvolution.losses import (
    REFERENCE_PIXELS,
    LossWeights,
    ShdLoss,
    non_negativity_loss,
    reconstruction_loss,
    sparsity_loss,
    spherical_total_variation,
    total_variation_loss,
)
from shd_bids.sphere.harmonics import sh_basis
from shd_bids.sphere.healpix import sphere_vertices

TOLERANCE = 1e-9  # float64


def _recorded() -> tuple[dict[str, np.ndarray], dict[str, Tensor], Tensor]:
    recorded = load_reference("losses")
    arrays = {
        "prediction": recorded["prediction"],
        "target": recorded["target"],
        "fodf": recorded["fodf_amplitude"][:, 0],
    }
    channels_last = {name: torch.as_tensor(np.moveaxis(a, 1, -1)) for name, a in arrays.items()}
    return recorded, channels_last, torch.as_tensor(recorded["mask"][:, 0] > 0)


def test_the_terms_of_single_voxels_are_those_of_the_authors() -> None:
    recorded, arrays, mask = _recorded()
    prediction, target, fodf = (arrays[name][mask] for name in ("prediction", "target", "fodf"))
    actual = {
        "reconstruction": reconstruction_loss(prediction, target),
        "non_negativity": non_negativity_loss(fodf),
        "sparsity": sparsity_loss(fodf),
    }
    for name, value in actual.items():
        assert value.item() == pytest.approx(float(recorded[name]), abs=TOLERANCE), name


def test_the_total_variation_is_that_of_the_authors() -> None:
    recorded, arrays, mask = _recorded()
    value = total_variation_loss(arrays["fodf"], mask).item()
    assert value == pytest.approx(float(recorded["total_variation"]), abs=TOLERANCE)


def test_total_variation_of_coefficients_is_that_of_amplitudes_on_the_reference_sphere() -> None:
    generator = torch.Generator().manual_seed(0)
    fodf_sh = torch.randn(1, 4, 3, 3, 15, generator=generator, dtype=torch.float64)
    mask = torch.rand(1, 4, 3, 3, generator=generator) > 0.3
    basis = torch.as_tensor(sh_basis(sphere_vertices(16), 4))
    assert len(basis) == REFERENCE_PIXELS
    expected = total_variation_loss(fodf_sh @ basis.T, mask)
    torch.testing.assert_close(
        spherical_total_variation(fodf_sh, mask), expected, rtol=1e-3, atol=0
    )


def test_total_variation_ignores_the_size_of_the_fodf() -> None:
    generator = torch.Generator().manual_seed(0)
    function = torch.randn(1, 3, 3, 3, 6, generator=generator, dtype=torch.float64)
    size = 0.5 + torch.rand(1, 3, 3, 3, 1, generator=generator, dtype=torch.float64)
    mask = torch.ones(1, 3, 3, 3, dtype=torch.bool)
    torch.testing.assert_close(
        total_variation_loss(function * size, mask), total_variation_loss(function, mask)
    )
    assert total_variation_loss(size.expand_as(function), mask) < 1e-12


def test_amplitudes_that_are_not_negative_cost_nothing_in_non_negativity() -> None:
    assert non_negativity_loss(torch.rand(4, 6)) == 0.0
    assert non_negativity_loss(torch.full((1, 1), -2.0)) == 4.0


@pytest.mark.parametrize(
    ("model", "tv_weight", "expected"),
    [
        ("shd", None, LossWeights(sparsity=1e-5, total_variation=0.0)),
        ("shd", 0.7, LossWeights(sparsity=1e-5, total_variation=0.0)),
        ("esd", 0.7, LossWeights(sparsity=1e-5, total_variation=0.0)),
        ("rt-esd", None, LossWeights(sparsity=1e-5, total_variation=0.0)),
        ("shd-tv", None, LossWeights(sparsity=1e-4, total_variation=0.5)),
        ("shd-tv", 0.2, LossWeights(sparsity=1e-4, total_variation=0.2)),
    ],
)
def test_each_model_has_its_weights(
    model: str, tv_weight: float | None, expected: LossWeights
) -> None:
    assert LossWeights.for_model(model, tv_weight) == expected


def test_the_total_is_the_weighted_sum_and_ignores_voxels_outside_the_mask() -> None:
    model = signal_model()
    patch = whole(tiny_scan(model, (4, 3, 3)))
    weights = LossWeights()
    criterion = ShdLoss(model.lmax, 2, weights)
    coefficients = apply(tiny_network(model), patch)
    terms = criterion(coefficients, patch)
    expected = sum(getattr(weights, name) * terms[name] for name in terms if name != "total")
    torch.testing.assert_close(terms["total"], expected)
    disturbed = torch.where(patch.mask.unsqueeze(-1), patch.dwi, patch.dwi + 1.0)
    again = criterion(coefficients, replace(patch, dwi=disturbed))
    torch.testing.assert_close(again, terms)


def test_the_reconstruction_is_judged_by_what_was_not_seen() -> None:
    model = signal_model()
    hidden = 5
    seen = np.arange(len(model.kernel)) != hidden
    scan = tiny_scan(model, (4, 3, 3), tiny_physics(model, seen))
    patch = scan.patch(scan.row.unsqueeze(0), scan.views[1])
    coefficients = apply(tiny_network(model), patch)
    terms = ShdLoss(model.lmax, 2, LossWeights())(coefficients, patch)
    residual = patch.physics.predict_signal(coefficients) - patch.dwi
    expected = residual[..., hidden][patch.mask].square().mean()
    torch.testing.assert_close(terms["reconstruction"], expected)
