"""Gradient tables of any content, and the plainest reading of them."""

import re
from pathlib import Path

import numpy as np
from fuzz.common import N_VOLUME, Attempt, open_participant
from fuzz.damage import AFFINE, N_DIRECTION
from fuzz.strategies import (
    mutated_tables,
)
from hypothesis import strategies as st

from shd_bids.dwi.gradients import GradientTable, read_fsl_gradients, read_mrtrix_gradients


def _good_bvecs() -> np.ndarray:
    generator = np.random.default_rng(0)
    bvecs = generator.normal(size=(N_DIRECTION, 3))
    return np.vstack([np.zeros(3), bvecs / np.linalg.norm(bvecs, axis=1, keepdims=True)])


_BVALS = ["0"] + ["1000"] * N_DIRECTION
_BVECS = [[f"{number:.6f}" for number in row] for row in _good_bvecs().T]
TABLE = [[*row, b] for row, b in zip(zip(*_BVECS, strict=True), _BVALS, strict=True)]

gradients = st.tuples(
    st.one_of(mutated_tables([_BVALS]), st.just(" ".join(_BVALS).encode()), st.binary()),
    st.one_of(
        mutated_tables(_BVECS),
        st.just("\n".join(map(" ".join, _BVECS)).encode()),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    ),
)


def read_text(content: bytes) -> list[list[float]]:
    """Read rows of numbers in the plainest way."""
    text = content.decode("utf-8-sig")
    rows = [re.sub("#.*", "", line).replace(",", " ").split() for line in text.splitlines()]
    return [[float(word) for word in row] for row in rows if row]


def _check_table(table: GradientTable, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    assert table.n_volume == len(bvals)
    length = np.linalg.norm(np.nan_to_num(bvecs), axis=1)
    unit = np.linalg.norm(table.bvecs_ras, axis=1)
    assert np.all((np.abs(unit - 1) < 1e-6) | (unit == 0))
    assert np.isfinite(table.bvals).all()
    assert np.all((unit == 0) == (length == 0))
    scaled = bvals * np.where(length > 0, length, 1) ** 2
    rtol = 1e-6
    assert np.allclose(table.bvals, bvals, rtol) or np.allclose(table.bvals, scaled, rtol)
    cosine = np.abs((table.bvecs_ras * np.nan_to_num(bvecs)).sum(axis=1))  # AFFINE mirrors nothing
    mirrored = np.nan_to_num(bvecs) * [np.sign(AFFINE[0, 0]), 1, 1]
    cosine = np.abs((table.bvecs_ras * mirrored).sum(axis=1))
    np.testing.assert_allclose(cosine, length, atol=1e-6)


def prepare_gradients(folder: Path) -> Attempt:
    one, plan = open_participant(folder)

    def attempt(case: tuple[bytes, bytes]) -> None:
        for extension, content in zip((".bval", ".bvec"), case, strict=True):
            one.path(extension).write_bytes(content)
        planned = plan()
        bvals = np.ravel(read_text(case[0]))
        vectors = np.array(read_text(case[1]))
        bvecs = vectors.T if vectors.shape[0] == 3 else vectors
        table = read_fsl_gradients(one.path(".bval"), one.path(".bvec"), AFFINE)
        _check_table(table, bvals, bvecs)
        assert sum(planned.shell_counts) == N_VOLUME == planned.shape[3]
        assert planned.shell_counts[0] == (table.bvals <= 100).sum()

    return attempt


def prepare_mrtrix(folder: Path) -> Attempt:
    file = folder / "dwi.b"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        table = read_mrtrix_gradients(file)
        rows = np.array(read_text(content))
        assert rows.shape == (table.n_volume, 4)
        np.testing.assert_allclose(table.bvals, rows[:, 3])
        unit = np.linalg.norm(table.bvecs_ras, axis=1)
        assert np.all((np.abs(unit - 1) < 1e-6) | (unit == 0))

    return attempt


#: MRtrix3's rule for vectors that are not of unit length makes a shell of one volume.
ONE_SHORT_VECTOR = (
    b"0 " + b"1000 " * 12,
    b"""0.000000 0.000000 0.000000
0.188817 -0.198390 0.961764
0.160214 -0.818129 0.552265
0 0.538547 -0.400171
-0.896702 -0.441664 0.029284
-0.878407 -0.082660 -0.470711
-0.758316 -0.563620 -0.327552
0.364862 0.924065 -0.113931
0.875998 -0.426436 0.225342
0.769674 0.080090 -0.633394
-0.875820 -0.434929 0.209228
-0.967733 -0.200498 -0.152619
0.793235 0.314831 0.521210
""",
)
