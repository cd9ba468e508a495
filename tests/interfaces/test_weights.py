"""Weights follow the volume of the bundles, whoever computes them, and failures are said."""

from pathlib import Path

import numpy as np
import pytest
from tractography.fodfs import AFFINES, delta_fodf, save_image
from tractography.straight_bundles import (
    FRACTIONS,
    RATIO,
    RATIO_TOLERANCE,
    SHAPE,
    signal,
    two_bundles,
)

from shd_bids.dwi.gradients import GradientTable, write_mrtrix_gradients
from shd_bids.errors import ConfigError, TrackingError
from shd_bids.interfaces.weights import WeighByLife, WeighBySift2
from shd_bids.tractography.directions import spiral
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import write_tck
from shd_bids.tractography.weights import read_weights


def _files(tmp_path: Path, affine: np.ndarray, n_lines=(150, 150), tissues=("WM", "GM", "CSF")):
    """Write two bundles, their fODFs and fractions as the nodes hand them on."""
    bundles = two_bundles(affine, n_lines)
    fodf = sum(
        (FRACTIONS[i] * bundle.inside)[..., None] * delta_fodf(bundle.direction)
        for i, bundle in enumerate(bundles)
    )
    white = sum(FRACTIONS[i] * bundle.inside for i, bundle in enumerate(bundles))
    maps = {"WM": white, "GM": 0.75 * (1 - white), "CSF": 0.25 * (1 - white)}
    save = {tissue: maps[tissue] if tissue in tissues else 0 * white for tissue in maps}
    lines = [line for bundle in bundles for line in bundle.lines]
    write_tck([Streamlines.of(lines)], tmp_path / "a.tck")
    return {
        "tck_file": str(tmp_path / "a.tck"),
        "n_streamlines": len(lines),
        "fod_files": {"WM": str(save_image(fodf.astype(np.float32), affine, tmp_path / "f.nii"))},
        "fraction_files": {
            tissue: str(save_image(data.astype(np.float32), affine, tmp_path / f"{tissue}.nii"))
            for tissue, data in save.items()
        },
        "mask_file": str(save_image(np.ones(SHAPE, np.uint8), affine, tmp_path / "mask.nii")),
    }


@pytest.mark.needs_tool("tcksift2")
def test_sift2_gives_bundles_the_ratio_of_their_volumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = _files(tmp_path, AFFINES["oblique-las-anisotropic"], n_lines=(150, 50))
    found = WeighBySift2(**files).run().outputs
    weights = read_weights(Path(found.weights_file))
    ratio = weights[:150].sum() / weights[150:].sum()
    assert ratio == pytest.approx(RATIO, rel=RATIO_TOLERANCE)
    assert weights.dtype == np.float32
    assert found.found["SIFT2Mu"] > 0
    assert found.found["SIFT2AnatomicalConstraint"]


@pytest.mark.parametrize(
    "name", ["a b", "a;touch pwned;", "$(touch pwned)", "a\ntouch pwned", "-x"]
)
def test_a_name_reaches_the_program_as_it_is(tmp_path, monkeypatch, name):
    files = _files(tmp_path, AFFINES["ras"], n_lines=(2, 1), tissues=("WM", "CSF"))
    hostile = tmp_path / name
    hostile.mkdir()
    files["tck_file"] = str(Path(files["tck_file"]).rename(hostile / "a.tck"))
    _pretend(
        tmp_path, monkeypatch, "echo 0.1 > mu.txt; for w; do echo \"$w\"; done > said\n"
        "echo 1 2 3 > weights.txt"
    )  # fmt: skip
    WeighBySift2(**files).run()
    assert files["tck_file"] in (tmp_path / "said").read_text()
    assert not list(tmp_path.rglob("pwned"))


def test_no_streamlines_have_no_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = _files(tmp_path, AFFINES["ras"], n_lines=(0, 0))
    found = WeighBySift2(**files).run().outputs
    assert Path(found.weights_file).read_text() == "weight\n"
    assert len(read_weights(Path(found.weights_file))) == 0


@pytest.mark.needs_tool("tcksift2")
def test_what_the_program_complains_of_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = _files(tmp_path, AFFINES["ras"])
    Path(files["fod_files"]["WM"]).write_bytes(b"no image")
    with pytest.raises(TrackingError, match=r"tcksift2 failed on a.tck(.|\n)*f\.nii"):
        WeighBySift2(**files).run()


def test_a_missing_program_is_named(tmp_path, monkeypatch):
    files = _files(tmp_path, AFFINES["ras"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="--streamline-weights sift2 needs"):
        WeighBySift2(**files).run()


def test_a_wrong_number_of_weights_is_refused(tmp_path, monkeypatch):
    files = _files(tmp_path, AFFINES["ras"])
    _pretend(tmp_path, monkeypatch, "echo 0.1 > mu.txt; printf '# by me\\n1 2 3\\n' > weights.txt")
    with pytest.raises(TrackingError, match="3 weights for the 300 streamlines"):
        WeighBySift2(**files).run()


def test_without_three_tissues_sift2_does_without_anatomy(tmp_path, monkeypatch):
    files = _files(tmp_path, AFFINES["ras"], n_lines=(2, 1), tissues=("WM", "CSF"))
    _pretend(
        tmp_path, monkeypatch, "echo 0.1 > mu.txt; echo $@ > said; echo 1 2 3 > weights.txt"
    )  # fmt: skip
    found = WeighBySift2(**files).run().outputs
    assert "-act" not in (tmp_path / "said").read_text()
    assert found.found["SIFT2AnatomicalConstraint"] is False
    assert Path(found.weights_file).read_text() == "weight\n1\n2\n3\n"


@pytest.mark.parametrize("n_lines", [(400, 300), (0, 0)])
def test_life_gives_bundles_the_ratio_of_their_volumes(n_lines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    affine = AFFINES["oblique-las-anisotropic"]
    files = _files(tmp_path, affine, n_lines)
    bvals = np.repeat([0.0, 1000.0, 3000.0], [2, 30, 40])
    bvecs = np.concatenate([np.zeros((2, 3)), spiral(30), spiral(40)])
    write_mrtrix_gradients(GradientTable(bvals, bvecs), tmp_path / "dwi.b")
    series = 500 * signal(two_bundles(affine, (0, 0)), bvals, bvecs)
    files["dwi_file"] = str(save_image(series, affine, tmp_path / "dwi.nii"))
    del files["fod_files"]
    found = (
        WeighByLife(
            **files, gradients_file=str(tmp_path / "dwi.b"), b0_threshold=50.0,
            shell_tolerance=50.0, max_gb=1.0,
        )
        .run()
        .outputs
    )  # fmt: skip
    weights = read_weights(Path(found.weights_file))
    assert len(weights) == sum(n_lines)
    assert found.found["LiFEShell"] == 3000
    if len(weights):
        assert weights[:400].sum() / weights[400:].sum() == pytest.approx(
            RATIO, rel=RATIO_TOLERANCE
        )


def _pretend(tmp_path: Path, monkeypatch, commands: str) -> None:
    """Put a program of the name of tcksift2 first on PATH."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "bin" / "tcksift2"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{commands}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
