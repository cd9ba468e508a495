"""Tracts that can be turned: the data are the streamlines, and a browser draws them."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from shd_bids.reports.figures.glass import glass_brain
from shd_bids.reports.figures.tracts import thin_out
from shd_bids.reports.figures.tractview import TractView, tract_view, view_fragment
from shd_bids.reports.html import assemble_report, figure_path
from shd_bids.tractography.streamlines import Streamlines

AFFINE = np.array([
    [-3.0, 0.2, 0.0, 37.0], [0.1, 3.0, 0.3, -52.0], [0.0, -0.3, 3.0, -21.0], [0.0, 0.0, 0.0, 1.0],
])  # fmt: skip
MASK = np.linalg.norm((np.indices((22, 26, 20)).T - [11, 13, 10]) / [9, 11, 8], axis=-1).T < 1


def lines(direction, n_line: int = 40) -> Streamlines:
    """Parallel lines through the middle of the mask."""
    middle = AFFINE[:3, :3] @ [11, 13, 10] + AFFINE[:3, 3]
    shifts = middle + np.random.default_rng(3).normal(0, 3, (n_line, 3))
    steps = np.linspace(-17, 17, 35)[:, None]
    return Streamlines.of(steps * np.array(direction) + shift for shift in shifts)


def decode(fragment: str) -> tuple[dict, Streamlines, np.ndarray, np.ndarray]:
    """Read the data of a fragment as the page's script does; in mm again."""
    head = json.loads(re.search(r'tract-view-head">(.*?)</script>', fragment)[1])
    data = base64.b64decode(re.search(r'tract-view-data">(.*?)</script>', fragment)[1])
    sizes = (
        ("<u2", head["n_line"]), ("<i2", 3 * head["n_point"]), ("<i2", 3 * head["n_corner"]),
        ("<u2", 3 * head["n_triangle"]), ("i1", 3 * head["n_corner"]),
    )  # fmt: skip
    parts, at = [], 0
    for kind, count in sizes:
        parts.append(np.frombuffer(data, kind, count, at).astype(int))
        at += parts[-1].size * np.dtype(kind).itemsize
    assert at == len(data)
    in_mm = [head["step_mm"] * part.reshape(-1, 3) + head["middle"] for part in parts[1:3]]
    points = Streamlines(in_mm[0].astype(np.float32), parts[0])
    return head, points, in_mm[1], parts[3].reshape(-1, 3)


@pytest.fixture(scope="module")
def view() -> TractView:
    return tract_view(lines((1, 0, 0)), {"CST <left>": lines((0, 0, 1), 9)}, MASK, AFFINE)


def test_the_data_decode_to_the_streamlines_within_half_a_step(view):
    head, found, _, _ = decode(view_fragment(view))
    wanted = Streamlines.join([thin_out(lines((1, 0, 0)), 2.5), thin_out(lines((0, 0, 1), 9), 2.5)])
    np.testing.assert_array_equal(found.n_points, wanted.n_points)
    assert head["step_mm"] <= 0.01
    np.testing.assert_allclose(found.points, wanted.points, atol=0.51 * head["step_mm"])
    assert [group["n_line"] for group in head["groups"]] == [40, 9]


def test_the_surface_is_closed_faces_outwards_and_lies_where_the_mask_ends(view):
    _, _, corners, triangles = decode(view_fragment(view))
    voxels = (corners - AFFINE[:3, 3]) @ np.linalg.inv(AFFINE[:3, :3]).T
    radius = np.linalg.norm((voxels - [11, 13, 10]) / [9, 11, 8], axis=1)
    assert radius.min() > 0.85
    assert radius.max() < 1.1
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, ::2]]))
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}
    a, b, c = (corners[triangles[:, i]] for i in range(3))
    volume_mm3 = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume_mm3 == pytest.approx(MASK.sum() * np.linalg.det(-AFFINE[:3, :3]), rel=0.1)
    normals = glass_brain(MASK, AFFINE).normals
    assert (np.einsum("ij,ij->i", normals, corners - corners.mean(axis=0)) > 0).mean() > 0.98


def test_a_fragment_runs_nothing_and_is_small_and_the_same_each_time(view):
    fragment = view_fragment(view)
    kinds = re.findall(r'<script type="(.*?)"', fragment)
    assert kinds == ["application/json", "text/plain"]
    assert fragment.count("<script") == 2
    assert not re.search(r"\bon\w+=|\bstyle=|eval\(", fragment)
    assert "CST \\u003cleft>" in fragment
    many = Streamlines.of(np.cumsum(np.full((100, 3), 1.5), axis=0) for _ in range(4000))
    large = view_fragment(tract_view(many, {}, MASK, AFFINE))
    assert len(large) < 2e6
    assert view_fragment(tract_view(many, {}, MASK, AFFINE)) == large


def test_without_streamlines_or_brain_there_is_still_a_view():
    head, found, corners, _ = decode(
        view_fragment(tract_view(lines((1, 0, 0), 0), {}, MASK & False, AFFINE))
    )
    assert (len(found), len(corners), head["n_triangle"]) == (0, 0, 0)


@pytest.mark.needs_tool("chromium")
def test_a_browser_draws_the_streamlines_without_complaint(tmp_path):
    fragment = view_fragment(tract_view(lines((1, 0, 0)), {}, MASK, AFFINE))
    file = tmp_path / figure_path({"sub": "01"}, "scene3d", ".html")
    file.parent.mkdir(parents=True)
    file.write_text(fragment, encoding="utf-8")
    page = assemble_report(tmp_path, "01", "run")
    done = subprocess.run(
        [
            shutil.which("chromium"), "--headless", "--no-sandbox", "--no-first-run",
            "--disable-background-networking", "--use-gl=angle", "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader", "--enable-logging=stderr", "--virtual-time-budget=2000",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,1100",
            f"--screenshot={tmp_path / 'page.png'}", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ":CONSOLE" not in done.stderr
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"), dtype=int)
    red = (pixels[..., 0] > 120) & (pixels[..., 1:].max(axis=-1) < 60)
    black = pixels.max(axis=-1) == 0
    assert red.sum() > 1000  # from side to side
    assert black.sum() > 50_000
