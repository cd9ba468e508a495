"""Tracts are rendered without a display, in a forked worker, and drawn flat if all else fails."""

import logging
import multiprocessing

import numpy as np
import pytest
from PIL import Image

from shd_bids.reports.figures import tracts
from shd_bids.reports.figures.style import save_figure
from shd_bids.reports.figures.tracts import draw_in_glass, plot_tracts
from shd_bids.reports.figures.views import VIEWS
from shd_bids.tractography.streamlines import Streamlines

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = -40.0
GRID = np.stack(np.meshgrid(*[np.arange(21)] * 3, indexing="ij"), axis=-1) * 4.0 - 40.0
MASK = np.linalg.norm(GRID, axis=-1) < 38


def bundle(direction, n_line: int = 60) -> Streamlines:
    """Parallel lines through the middle."""
    shifts = np.random.default_rng(5).normal(0, 3, (n_line, 3))
    steps = np.linspace(-25, 25, 51)[:, None]
    return Streamlines.of(steps * np.array(direction) + shift for shift in shifts)


def columns_of_view(file, order: int) -> np.ndarray:
    pixels = np.asarray(Image.open(file).convert("RGB"), dtype=int)
    pixels = pixels[int(0.1 * len(pixels)) : int(0.9 * len(pixels))]
    return np.split(pixels[:, : 3 * (pixels.shape[1] // 3)], 3, axis=1)[order]


def count_colour(view: np.ndarray, channel: int) -> int:
    others = np.delete(view, channel, axis=2).max(axis=2)
    return int((view[..., channel] > others + 60).sum())


@pytest.mark.parametrize("flat", [False, True])
def test_a_left_right_bundle_is_red_and_seen_from_the_front(flat, tmp_path, monkeypatch):
    if flat:
        monkeypatch.setattr(tracts, "_render_apart", lambda *_: "no driver")
    file = plot_tracts(bundle((1, 0, 0)), MASK, AFFINE, tmp_path / "tracts.png")
    front = columns_of_view(file, 1)
    assert count_colour(front, 0) > 500
    assert count_colour(front, 1) + count_colour(front, 2) < 50
    found = np.argwhere(front[..., 0] > front[..., 2] + 60)
    height, width = np.ptp(found, axis=0)
    assert width > 1.3 * height
    assert count_colour(columns_of_view(file, 0), 0) < 0.7 * count_colour(front, 0)


def _draw_blue(file):
    blue = np.tile([0.0, 0.0, 1.0], (60, 1))
    save_figure(draw_in_glass(bundle((1, 0, 0)), MASK, AFFINE, colors=blue), file)


def test_given_colours_are_rendered_in_a_forked_worker(tmp_path):
    fork = multiprocessing.get_context("fork")
    worker = fork.Process(target=_draw_blue, args=(tmp_path / "tracts.png",))
    worker.start()
    worker.join(300)
    assert worker.exitcode == 0
    assert count_colour(columns_of_view(tmp_path / "tracts.png", 1), 2) > 500


def test_when_vtk_cannot_render_a_warning_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracts.sys, "executable", "/bin/false")
    with caplog.at_level(logging.WARNING):
        file = plot_tracts(bundle((0, 1, 0), 5), MASK, AFFINE, tmp_path / "tracts.png")
    assert "drawn flat" in caplog.text
    assert file.stat().st_size > 1000


def test_no_streamlines_and_no_mask_still_give_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(tracts, "_render_apart", lambda *_: "no driver")
    assert plot_tracts(Streamlines.of([]), MASK & False, AFFINE, tmp_path / "tracts.png").exists()


def test_points_are_thinned_out_but_the_ends_stay_and_single_points_go():
    lines = Streamlines.of([*bundle((0.5, 0, 0), 3), np.zeros((1, 3))])
    thinned = tracts.thin_out(lines, 1.5)
    assert [len(line) for line in thinned] == [18] * 3
    ends = [[line[0], line[-1]] for line in thinned]
    np.testing.assert_array_equal(ends, lines.ends[:3])


@pytest.mark.parametrize("view", VIEWS)
def test_the_letters_of_a_view_name_its_sides(view):
    right = view.page[0]
    axis = int(np.argmax(np.abs(right)))
    letters = ("LR", "PA", "IS")[axis]
    assert view.sides == ((letters[0], letters[1]) if right[axis] > 0 else (letters[1], letters[0]))
