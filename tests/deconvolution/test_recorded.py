"""Fits that are asked for, and fits that were made."""

from dataclasses import asdict, replace

import pytest

from shd_bids.bids.files import file_digest
from shd_bids.deconvolution.loss_weights import LossWeights
from shd_bids.deconvolution.presets import get_preset
from shd_bids.deconvolution.recorded import AskedFit, differences

ASKED = AskedFit("shd-tv", 8, 0)


def _made(asked: AskedFit = ASKED) -> dict:
    preset = get_preset(asked.preset)
    return {
        "model": asked.model,
        "lmax": min(asked.lmax, preset.largest_degree),
        "preset": asked.preset,
        "network": asdict(preset),
        "loss_weights": asdict(LossWeights.for_model(asked.model, asked.tv_weight)),
        "random_seed": asked.random_seed,
        "precision": "float32",
        "device": "CPU, 2 threads",
        "weights_file": None,
    }


@pytest.mark.parametrize("model", ["shd-tv", "shd", "csd", "rumba"])
def test_a_fit_that_was_made_as_asked_does_not_differ(model):
    asked = replace(ASKED, model=model)
    assert differences(asked, _made(asked)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"lmax": 6}, "--lmax is 6, it was 8"),
        ({"preset": "standard"}, "--shd-preset is standard, it was fast"),
        ({"n_step": 3}, "--shd-steps is 3, it was 400"),
        ({"tv_weight": 0.0}, "--tv-weight is 0.0, it was 0.5"),
        ({"random_seed": 1}, "--random-seed is 1, it was 0"),
        ({"precision": "bfloat16"}, "--precision is bfloat16, it was float32"),
    ],
)
def test_what_differs_is_named_by_its_flag(changed, words):
    assert words in differences(replace(ASKED, **changed), _made())


def test_a_preset_that_has_changed_since_is_noticed():
    made = _made()
    made["network"]["filters"] = 8
    assert differences(ASKED, made) == ["the preset's filters is 16, it was 8"]


def test_the_degree_that_a_network_cannot_carry_is_not_asked_of_it():
    assert differences(replace(ASKED, lmax=18), _made()) == []


def test_weights_are_told_by_what_they_hold_not_by_where_they_lie(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    made = _made() | {"weights_file": "a", "weights_digest": file_digest(tmp_path / "a")}
    made["network"]["steps"] = 7  # of whoever trained it
    same, other = (replace(ASKED, weights_file=tmp_path / name) for name in "bc")
    assert differences(same, made) == []
    assert "--weights" in differences(other, made)[0]
    assert "--weights is not given" in " ".join(differences(ASKED, made)).replace("digest of ", "")
