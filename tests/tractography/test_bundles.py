"""Known bundles are recognised among clutter, in a head that lies otherwise than the models."""

from functools import cache

import numpy as np
import pytest
from tractography.curved_bundles import CURVES, TO_MODEL, model_lines, tractogram

from shd_bids.errors import TrackingError
from shd_bids.tractography import bundles
from shd_bids.tractography.bundles import (
    Recognition,
    RecognitionSettings,
    recognise_bundles,
    turn_and_scale,
)
from shd_bids.tractography.draw import EvenLines, draw_streamlines, even_lines
from shd_bids.tractography.streamlines import Streamlines

N_LINE = 20
NOTHING = np.zeros((0, 20, 3), dtype=np.float32)


@cache
def scene() -> tuple[EvenLines, np.ndarray]:
    lines, labels = tractogram(n_line=N_LINE, n_clutter=40)
    drawn = draw_streamlines([Streamlines.of(lines)], n_most=10**6, random_seed=0, n_node=20)
    return drawn.lines(20), labels[drawn.places]


@cache
def models() -> dict[str, EvenLines]:
    made = model_lines(n_line=15)
    return {label: even_lines(Streamlines.of(lines), 20) for label, lines in made.items()}


@cache
def recognised() -> Recognition:
    whole_brain = np.concatenate(list(models().values()))
    return recognise_bundles(scene()[0], models(), whole_brain, random_seed=4)


def test_without_a_whole_brain_the_size_of_the_head_is_left_alone():
    found = recognise_bundles(scene()[0], models(), random_seed=4)
    np.testing.assert_allclose(turn_and_scale(found.to_model)[1], 1.0, atol=1e-5)
    assert min(map(len, found.members.values())) >= 0.5 * N_LINE


@pytest.mark.parametrize("label", CURVES)
def test_most_of_a_bundle_is_found_and_little_else(label):
    members = recognised().members[label]
    right = scene()[1][members] == label
    assert right.sum() >= 0.9 * N_LINE
    assert right.mean() >= 0.9


def test_the_registration_undoes_how_the_head_lies():
    (lines, labels), found = scene(), recognised()
    points = lines[labels != "clutter"].reshape(-1, 3)
    there = [points @ m[:3, :3].T + m[:3, 3] for m in (TO_MODEL, found.to_model)]
    allowed_mm = RecognitionSettings().pruning_mm  # that a streamline may differ from a model
    assert np.linalg.norm(there[0] - there[1], axis=1).max() < allowed_mm
    assert found.distance_mm < 3.0


def test_the_same_seed_gives_the_same_bundles_however_many_threads_there_are(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    whole_brain = np.concatenate(list(models().values()))
    again = recognise_bundles(scene()[0], models(), whole_brain, random_seed=4)
    np.testing.assert_array_equal(again.to_model, recognised().to_model)
    for label, members in recognised().members.items():
        np.testing.assert_array_equal(again.members[label], members)


@pytest.fixture
def registered(monkeypatch):
    """Take the registration as known: it takes most of the time."""
    known = recognised()
    monkeypatch.setattr(bundles, "_register", lambda *_: (known.to_model, known.distance_mm))


def test_a_bundle_does_not_depend_on_what_else_is_looked_for(registered):
    whole_brain = np.concatenate(list(models().values()))
    one = {"cingulum": models()["cingulum"]}
    alone = recognise_bundles(scene()[0], one, whole_brain, random_seed=4)
    np.testing.assert_array_equal(alone.members["cingulum"], recognised().members["cingulum"])


def test_a_bundle_that_is_not_there_is_not_found(registered):
    lines, labels = scene()
    one = {"cingulum": models()["cingulum"]}
    whole_brain = np.concatenate(list(models().values()))
    members = recognise_bundles(lines[labels != "cingulum"], one, whole_brain).members["cingulum"]
    assert len(members) <= 0.1 * N_LINE


def test_a_tractogram_without_streamlines_holds_no_bundle(caplog):
    found = recognise_bundles(NOTHING, models())
    assert "20 mm or longer, so no bundle" in caplog.text
    assert all(len(members) == 0 for members in found.members.values())
    assert found.distance_mm is None


def test_streamlines_that_only_loop_cannot_be_registered():
    with pytest.raises(TrackingError, match=r"No streamline between 5\d and 250 mm"):
        recognise_bundles(20 * scene()[0][:5], {"long": 1.2 * models()["callosum"]})


def test_a_few_streamlines_are_enough_to_go_on():
    found = recognise_bundles(scene()[0][:3], models())
    assert sum(len(members) for members in found.members.values()) <= 3 * len(CURVES)
