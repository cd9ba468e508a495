"""How the phantom's head moves."""

import numpy as np
import pytest

from shd_bids.testing.motion import draw_motion


def draw(n_volume=60, max_mm=4.0, max_deg=3.0, seed=0, **kept):
    generator = np.random.default_rng(seed)
    return draw_motion(n_volume, max_mm, max_deg, generator=generator, **kept)


@pytest.mark.parametrize("n_volume", [2, 60])
def test_the_head_goes_as_far_as_asked_and_no_farther(n_volume: int):
    motion = draw(n_volume)
    cosines = (np.trace(motion.rotations(), axis1=1, axis2=2) - 1) / 2
    assert np.linalg.norm(motion.translation_mm, axis=1).max() == pytest.approx(4.0)
    assert np.degrees(np.arccos(cosines.clip(-1, 1))).max() == pytest.approx(3.0)


def test_the_head_rests_in_the_reference():
    motion = draw(reference=7)
    assert np.all(motion.translation_mm[7] == 0)
    assert np.all(motion.rotation_rad[7] == 0)


def test_no_motion_is_asked_for_and_none_is_drawn():
    motion = draw(max_mm=0.0, max_deg=0.0)
    assert not motion.translation_mm.any()
    assert not motion.rotation_rad.any()


@pytest.mark.parametrize("seed", range(4))
def test_most_steps_are_small_and_a_few_are_jumps(seed: int):
    steps = np.linalg.norm(np.diff(draw(seed=seed).translation_mm, axis=0), axis=1)
    assert np.median(steps) < 0.3
    assert steps.max() > 3 * np.median(steps)
