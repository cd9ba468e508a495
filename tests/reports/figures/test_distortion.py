"""The picture of the correction shows both images before and after it."""

import base64
import io
import re

import numpy as np
from PIL import Image

from shd_bids.reports.figures.distortion import plot_distortion

SHAPE = (9, 11, 7)
AFFINE = np.array([[-2.0, 0, 0, 8], [0, 1.9, -0.4, -9], [0, 0.3, 2.5, -7], [0, 0, 0, 1.0]])
MASK = np.zeros(SHAPE, dtype=bool)
MASK[1:8, 2:10, 1:6] = True


def pages(file):
    found = re.findall(r"data:image/webp;base64,([^\"]+)", file.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(page)))) for page in found]


def test_the_second_page_differs_where_images_were_corrected(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.uniform(50, 100, SHAPE) * MASK for _ in range(4)]
    field = rng.normal(0, 30, SHAPE)
    file = plot_distortion(*images, field, MASK, AFFINE, tmp_path / "distortion.svg")
    before, after = pages(file)
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).mean() > 1


def test_no_field_and_an_empty_mask_are_drawn_too(tmp_path):
    image = np.ones(SHAPE)
    nowhere = np.zeros(SHAPE, dtype=bool)
    file = plot_distortion(
        image, image, image, image, 0 * image, nowhere, AFFINE, tmp_path / "empty.svg"
    )
    assert len(pages(file)) == 2
