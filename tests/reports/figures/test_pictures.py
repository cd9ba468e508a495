"""Each picture is written, can be opened and is not blank, from tiny and awkward arrays too."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from shd_bids.reports.figures.atlases import plot_atlases, region_colors
from shd_bids.reports.figures.denoising import plot_denoising
from shd_bids.reports.figures.fit import plot_loss
from shd_bids.reports.figures.fodf import plot_fodf
from shd_bids.reports.figures.gradients import plot_gradients
from shd_bids.reports.figures.images import (
    plot_dec,
    plot_fractions,
    plot_maps,
    plot_residual,
    plot_voxel_selection,
)
from shd_bids.reports.figures.outlines import plot_outlines
from shd_bids.reports.figures.peaks import plot_peaks
from shd_bids.reports.figures.region import Region
from shd_bids.reports.figures.response import plot_responses
from shd_bids.reports.figures.style import save_figure

SHAPE = (9, 11, 7)
AFFINE = np.array([[-2.0, 0, 0, 8], [0, 1.9, -0.4, -9], [0, 0.3, 2.5, -7], [0, 0, 0, 1.0]])
RNG = np.random.default_rng(20)
VOLUME = RNG.uniform(50, 100, SHAPE)
MASK = np.zeros(SHAPE, dtype=bool)
MASK[1:8, 2:10, 1:6] = True
FODF = RNG.normal(0, 0.02, (*SHAPE, 15)).astype(np.float32)
FODF[..., 0] = 0.28
BVALS = np.array([0.0] + [1000.0] * 8 + [2000.0] * 8)
BVECS = np.vstack([np.zeros(3), np.tile(RNG.normal(size=(8, 3)), (2, 1))])
BVECS[1:] /= np.linalg.norm(BVECS[1:], axis=1, keepdims=True)
SHELLS = np.array([0.0, 1000.0, 2000.0])
INDEX = np.repeat([0, 1, 2], [1, 8, 8])
RESPONSE = np.array([[3500.0, 0, 0], [1200.0, -600, 100], [700.0, -500, 150]])
HISTORY = {
    "step": [0, 10, 20],
    "seconds": [0.5, 4.0, 8.0],
    "loss": {"reconstruction": [2.0, 1.0, 0.5], "sparsity": [0, 0, 0], "total": [3.0, 2.0, 1.0]}
    | {"start": [3.0, 3.0, 3.1]},
    "weights": {"reconstruction": 1.0, "sparsity": 5e-5},
}
REGIONS = [Region("axial", 3, (0, 1), (9, 7)), Region("coronal", 5, (0, 1), (9, 3))]
PEAKS = np.where(RNG.uniform(size=(*SHAPE, 6)) < 0.2, np.nan, RNG.normal(size=(*SHAPE, 6)))
DEC = np.abs(RNG.normal(size=(*SHAPE, 3)))

PICTURES: dict[str, Callable[[Path], Path]] = {
    "gradients": lambda file: plot_gradients(BVALS, BVECS, SHELLS, INDEX, file),
    "mask": lambda file: plot_outlines(VOLUME, MASK, AFFINE, file),
    "tissues": lambda file: plot_outlines(
        VOLUME, MASK, AFFINE, file, tissue=np.stack([VOLUME / 150] * 3, axis=-1)
    ),
    "atlases": lambda file: plot_atlases(
        VOLUME, MASK, {"Two": MASK * 1 + (MASK & (VOLUME > 75)), "One": MASK * 1}, AFFINE, file
    ),
    "voxels": lambda file: plot_voxel_selection(VOLUME, {"WM": MASK, "CSF": ~MASK}, AFFINE, file),
    "responses": lambda file: plot_responses(
        SHELLS, {"WM": RESPONSE, "GM": RESPONSE[:, :1], "CSF": RESPONSE[:, :1]}, file
    ),
    "loss": lambda file: plot_loss({"shdtv": HISTORY}, file),
    "two losses": lambda file: plot_loss({"shdtv": HISTORY, "shd": HISTORY}, file),
    "residual": lambda file: plot_residual(
        {"shdtv": VOLUME / 5000, "csd": VOLUME / 4000}, MASK, AFFINE, file
    ),
    "fractions": lambda file: plot_fractions(
        {"WM": VOLUME / 100, "CSF": 1 - VOLUME / 100}, MASK, AFFINE, file
    ),
    "map": lambda file: plot_maps({"AFD": VOLUME}, MASK, AFFINE, file, label="AFD"),
    "colours": lambda file: plot_dec({"shdtv": DEC, "csd": DEC}, AFFINE, file),
    "glyphs": lambda file: plot_fodf(
        {"shdtv": FODF, "msmtcsd": FODF[..., :6]}, VOLUME, MASK, AFFINE, REGIONS, file
    ),
    "peaks": lambda file: plot_peaks(
        {"shdtv": PEAKS, "csd": PEAKS[..., :3]},
        {"shdtv": VOLUME, "csd": VOLUME},
        MASK,
        AFFINE,
        REGIONS,
        file,
    ),
    "three models": lambda file: plot_fodf(
        {"shdtv": FODF, "shd": FODF, "csd": FODF}, VOLUME, MASK, AFFINE, REGIONS, file
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_not_blank(name, tmp_path):
    file = PICTURES[name](tmp_path / "new" / "picture.png")
    pixels = np.asarray(Image.open(file).convert("L"), dtype=float)
    assert pixels.std() > 5
    assert file.stat().st_size < 2_000_000


@pytest.mark.parametrize("name", ["gradients", "responses", "loss"])
def test_a_chart_can_be_a_drawing(name, tmp_path):
    file = PICTURES[name](tmp_path / "chart.svg")
    root = ElementTree.parse(file).getroot()
    assert root.get("viewBox")
    assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) > 20


def test_the_legend_of_the_losses_lies_on_the_page(tmp_path):
    file = plot_loss({"shdtv": HISTORY}, tmp_path / "loss.svg")
    root = ElementTree.parse(file).getroot()
    height = float(root.get("viewBox").split()[3])
    (legend,) = root.findall(".//*[@id='legend_1']")
    places = re.findall(r"translate\(\S+ ([\d.]+)\) scale", ElementTree.tostring(legend, "unicode"))
    assert places
    assert all(0.8 * height < float(place) < height for place in places)


def test_pictures_of_an_empty_mask_do_not_fail(tmp_path):
    empty = np.zeros(SHAPE, dtype=bool)
    assert plot_outlines(VOLUME, empty, AFFINE, tmp_path / "mask.png").exists()
    nowhere = {"none": np.zeros(SHAPE, dtype=int)}
    assert plot_atlases(VOLUME, empty, nowhere, AFFINE, tmp_path / "atlas.png").exists()
    assert plot_residual({"csd": VOLUME}, empty, AFFINE, tmp_path / "rmse.png").exists()
    assert plot_voxel_selection(VOLUME, {"WM": empty}, AFFINE, tmp_path / "voxels.png").exists()
    assert plot_fodf({"csd": FODF}, VOLUME, empty, AFFINE, REGIONS, tmp_path / "f.png").exists()
    peaks, afd = {"csd": PEAKS}, {"csd": VOLUME}
    assert plot_peaks(peaks, afd, empty, AFFINE, REGIONS, tmp_path / "p.png").exists()
    nothing = np.zeros((*SHAPE, 3))
    assert plot_dec({"csd": nothing}, AFFINE, tmp_path / "dec.png").exists()


def test_every_region_of_an_atlas_has_a_colour_of_its_own():
    labels = np.arange(2000).reshape(10, 10, 20) // 2 * 7
    colors = region_colors(labels)
    assert len(np.unique(colors.reshape(-1, 3), axis=0)) == 1000
    assert np.array_equal(colors[..., ::2, :], colors[..., 1::2, :])


def test_a_volume_of_one_slice_has_pictures_too(tmp_path):
    flat = VOLUME[:, :, :1]
    file = plot_outlines(flat, flat > 60, AFFINE, tmp_path / "mask.png")
    assert np.asarray(Image.open(file)).std() > 5


def test_denoising_flickers_between_two_different_pictures(tmp_path):
    file = plot_denoising(
        VOLUME, VOLUME - 5 * RNG.normal(size=SHAPE), MASK, AFFINE, tmp_path / "flicker.svg",
        label="b = 1000 s/mm²", sigma=VOLUME / 20,
    )  # fmt: skip
    ElementTree.parse(file)
    text = file.read_text(encoding="utf-8")
    before, after = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(code))), dtype=float)
        for code in re.findall(r"base64,([\w+/=]+)", text)
    ]
    assert before.shape == after.shape
    assert before.std() > 5
    assert np.abs(before - after).max() > 50
    assert "hover" in text


def test_left_right_fibres_are_red(tmp_path):
    dec = np.zeros((*SHAPE, 3))
    dec[MASK, 0] = 1.0
    file = plot_dec({"csd": dec}, AFFINE, tmp_path / "dec.png")
    pixels = np.asarray(Image.open(file).convert("RGB"), dtype=int)
    slices = pixels[: int(0.9 * len(pixels))].reshape(-1, 3)
    assert (slices[:, 0] - slices[:, 2] > 200).mean() > 0.2


def test_few_colours_make_a_picture_smaller_and_change_it_little(tmp_path):
    page = Figure(figsize=(3, 3))
    axes = page.add_axes((0, 0, 1, 1))
    axes.scatter(
        RNG.uniform(size=400), RNG.uniform(size=400), c=DEC.reshape(-1, 3)[:400].clip(0, 1)
    )
    full = save_figure(page, tmp_path / "full.png", dpi=100)
    few = save_figure(page, tmp_path / "few.png", dpi=100, n_color=256)
    first, second = (np.asarray(Image.open(f).convert("RGB"), dtype=float) for f in (full, few))
    assert few.stat().st_size < 0.6 * full.stat().st_size
    assert first.shape == second.shape
    assert np.sqrt(np.mean((first - second) ** 2)) < 0.03 * 255
