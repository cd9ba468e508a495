"""Weights keep their order and number on disk; the method is chosen by what is installed."""

import subprocess

import numpy as np
import pytest
from tractography.fodfs import AFFINES, save_image

from shd_bids.errors import ConfigError, TrackingError
from shd_bids.tractography.weights import (
    choose_method,
    five_tissues,
    read_weights,
    write_weights,
)

SHAPE = (6, 5, 4)


def _fractions() -> dict[str, np.ndarray]:
    """Return three tissues that sum to nearly 1, with the faults that fits leave."""
    parts = np.random.default_rng(0).dirichlet([1, 1, 1], SHAPE).astype(np.float32)
    parts *= 1.01
    parts[0, 0, 0] = [1.2, -0.2, 0.0]
    parts[1, 0, 0] = np.nan
    parts[2, 0, 0] = 0
    return dict(zip(("WM", "GM", "CSF"), np.moveaxis(parts, -1, 0), strict=True))


def test_weights_come_back_from_disk(tmp_path):
    weights = np.random.default_rng(0).gamma(1.0, size=1000).astype(np.float32)
    weights[3] = 0
    write_weights(weights, tmp_path / "w.tsv")
    assert (tmp_path / "w.tsv").read_text().startswith("weight\n")
    again = read_weights(tmp_path / "w.tsv")
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, weights, rtol=1e-6)


def test_what_mrtrix3_writes_is_read(tmp_path):
    (tmp_path / "w.txt").write_text("# command_history: tcksift2\n1 2.5 0 1e-3\n")
    np.testing.assert_allclose(read_weights(tmp_path / "w.txt"), [1, 2.5, 0, 1e-3])


def test_no_weights_are_none(tmp_path):
    write_weights(np.zeros(0, dtype=np.float32), tmp_path / "w.tsv")
    assert len(read_weights(tmp_path / "w.tsv")) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [("1\nnan\n", "1 weights that are no finite numbers, of 2"), ("1\ntwo\n", "something else")],
)
def test_what_is_no_weight_is_refused(text, message, tmp_path):
    (tmp_path / "w.tsv").write_text(f"weight\n{text}")
    with pytest.raises(TrackingError, match=message):
        read_weights(tmp_path / "w.tsv")


def test_the_five_tissues_sum_to_one_inside_and_to_zero_outside():
    mask = np.ones(SHAPE, dtype=bool)
    mask[:, 4] = False
    tissues = five_tissues(_fractions(), mask)
    total = tissues.sum(axis=-1)
    assert tissues.min() == 0
    assert set(np.round(total[mask], 5)) == {0, 1}
    assert not total[~mask].any()
    np.testing.assert_allclose(tissues[0, 0, 0], [0, 0, 1, 0, 0])


@pytest.mark.parametrize("absent", ["WM", "GM", "CSF"])
def test_two_tissues_make_no_five(absent):
    fractions = _fractions()
    fractions[absent] = np.zeros(SHAPE, dtype=np.float32)
    assert five_tissues(fractions, np.ones(SHAPE, dtype=bool)) is None
    del fractions[absent]
    assert five_tissues(fractions, np.ones(SHAPE, dtype=bool)) is None


@pytest.mark.needs_tool("5ttcheck")
@pytest.mark.parametrize("name", AFFINES)
def test_the_five_tissues_are_what_mrtrix3_expects(name, tmp_path):
    mask = np.ones(SHAPE, dtype=bool)
    mask[:, 4] = False
    save_image(five_tissues(_fractions(), mask), AFFINES[name], tmp_path / "5tt.nii")
    done = subprocess.run(["5ttcheck", "5tt.nii"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_auto_takes_sift2_where_it_is_and_says_where_it_is_not(monkeypatch, tmp_path, caplog):
    program = tmp_path / "tcksift2"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_method("auto") == choose_method("sift2") == "sift2"
    assert choose_method("none") == "none"
    assert not caplog.text
    program.unlink()
    assert choose_method("auto") == "none"
    assert "tcksift2 is not on PATH" in caplog.text
    with pytest.raises(ConfigError, match="--streamline-weights sift2 needs"):
        choose_method("sift2")
