"""Bundles are drawn in colours of their own, and profiles with as many panels as maps."""

import matplotlib.image
import numpy as np
from reports.figures.test_tracts import AFFINE, MASK, bundle, columns_of_view

from shd_bids.reports.figures import tracts
from shd_bids.reports.figures.bundles import bundle_colors, plot_bundles, plot_profiles
from shd_bids.tractography.profiles import Profile

BUNDLES = {
    label: np.stack(list(bundle(direction)))
    for label, direction in {"across": (1, 0, 0), "up": (0, 0, 1)}.items()
}


def has_hue(view: np.ndarray, color) -> int:
    """Count the pixels whose colour, however dark, is this one."""
    bright = view[view.max(axis=-1) > 60]
    wanted = np.array(color) / max(color)
    return int(
        (np.abs(bright / bright.max(axis=-1, keepdims=True) - wanted).max(axis=-1) < 0.12).sum()
    )


def test_each_bundle_has_its_own_colour_whatever_its_direction(tmp_path, monkeypatch):
    monkeypatch.setattr(tracts, "_render_apart", lambda *_: "no driver")
    file = plot_bundles(BUNDLES, MASK, AFFINE, tmp_path / "bundles.png")
    front = columns_of_view(file, 1)
    for color in bundle_colors(BUNDLES).values():
        assert has_hue(front, color) > 500


def test_no_bundle_at_all_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(tracts, "_render_apart", lambda *_: "no driver")
    assert plot_bundles({}, MASK, AFFINE, tmp_path / "bundles.png").exists()
    file = plot_profiles({}, {}, tmp_path / "profiles.svg")
    assert "no bundle was found" in file.read_text()


def test_many_bundles_have_many_colours_and_a_legend_below_the_panels(tmp_path):
    labels = [f"bundle{n}" for n in range(80)]
    assert len(set(bundle_colors(labels).values())) == 80
    flat = Profile(np.ones(100), np.zeros(100))
    for n_label in (2, 80):
        profiles = {"afd": dict.fromkeys(labels[:n_label], flat)}
        file = plot_profiles(profiles, dict.fromkeys(labels, "left"), tmp_path / f"{n_label}.png")
    heights = [len(matplotlib.image.imread(tmp_path / f"{n}.png")) for n in (2, 80)]
    assert heights[1] > heights[0] + 15 * 20
    assert file.exists()
