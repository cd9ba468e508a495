"""From a tractogram and a folder of models to bundles, tables, profiles and pictures."""

import logging

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.streamlines import Tractogram
from tractography.curved_bundles import CURVES, TO_MODEL, model_lines, tractogram

from shd_bids.errors import ConfigError, TrackingError
from shd_bids.interfaces.bundle_figures import PlotBundles
from shd_bids.interfaces.bundle_sidecars import DescribeBundles
from shd_bids.interfaces.bundles import RecogniseBundles
from shd_bids.reports.figures import tracts
from shd_bids.tractography import bundles

SHAPE = (40, 48, 44)
AFFINE = np.diag([-3.0, 3.0, 3.0, 1.0])
AFFINE[:3, 3] = [60.0, -72.0, -66.0]
N_LINE = 20


def save(lines, file):
    nib.streamlines.save(Tractogram(lines, affine_to_rasmm=np.eye(4)), file)
    return str(file)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Make a tractogram, models of it and of one bundle that it lacks, and maps of place."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "models").mkdir()
    lines, labels = tractogram(n_line=N_LINE, n_clutter=30)
    there = [line for line, label in zip(lines, labels, strict=True) if label != "uncinate"]
    save(there, folder / "tracts.tck")
    for label, model in model_lines(n_line=15).items():
        save(model, folder / "models" / f"{label}.trk")
    world = np.indices(SHAPE).reshape(3, -1).T @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    for axis, name in ((1, "forward"), (2, "height")):
        data = world[:, axis].reshape(SHAPE).astype(np.float32)
        nib.save(nib.Nifti1Image(data, AFFINE), folder / f"{name}.nii.gz")
    mask = (np.linalg.norm(world, axis=1) < 62).reshape(SHAPE).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, AFFINE), folder / "mask.nii.gz")
    return folder


def recognise(study, cwd, **inputs):
    maps = {name: str(study / f"{name}.nii.gz") for name in ("forward", "height")}
    given = {
        "tractogram_file": str(study / "tracts.tck"),
        "model_dir": str(study / "models"),
        "map_files": maps,
        "random_seed": 3,
    }
    return RecogniseBundles(**(given | inputs)).run(cwd=str(cwd)).outputs


@pytest.fixture(scope="module")
def found(study, tmp_path_factory):
    return recognise(study, tmp_path_factory.mktemp("found"))


def test_each_bundle_that_is_there_has_a_file_and_every_model_a_row(found):
    table = pd.read_csv(found.table_file, sep="\t").set_index("bundle")
    assert set(table.index) == set(CURVES)
    assert set(found.bundle_files) == set(CURVES) - {"uncinate"}
    assert table.loc["uncinate", "n_streamlines"] == 0
    for label, file in found.bundle_files.items():
        lines = nib.streamlines.load(file).streamlines
        assert len(lines) == table.loc[label, "n_streamlines"] >= 0.9 * N_LINE
        mean = np.mean([np.linalg.norm(np.diff(one, axis=0), axis=1).sum() for one in lines])
        assert table.loc[label, "mean_length_mm"] == pytest.approx(mean, rel=1e-4)
        # A bundle of radius 3 mm, or so, of this length; in voxels of 3 mm.
        assert 3**2 * mean < table.loc[label, "volume_mm3"] < 20**2 * mean


@pytest.mark.parametrize(
    ("label", "name", "low", "high"),
    [("cstL", "height", -50, 55), ("cstR", "height", -50, 55), ("cingulum", "forward", -50, 40)],
)
def test_a_map_of_place_rises_along_a_bundle_from_its_start(label, name, low, high, found):
    rows = pd.read_csv(found.profiles_file, sep="\t")
    profile = rows[(rows.bundle == label) & (rows["map"] == name)].set_index("node")["mean"]
    assert list(profile.index) == list(range(100))
    assert (np.diff(profile) > 0).all()
    assert profile[0] == pytest.approx(low, abs=4)  # ends and middle lines vary by 3 mm
    assert profile[99] == pytest.approx(high, abs=4)


def test_a_bundle_that_is_not_found_is_said(study, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(bundles, "_register", lambda *_: (TO_MODEL, 1.0))  # takes most of the time
    with caplog.at_level(logging.INFO):
        found = recognise(study, tmp_path, n_most=40)
    assert "The bundle uncinate of --model-bundles was not found" in caplog.text
    assert "among 40 of 110 streamlines" in caplog.text
    assert found.settings["UsableStreamlineCount"] == 110
    assert found.settings["SearchedStreamlineCount"] == 40


def test_an_empty_tractogram_holds_no_bundle_which_is_said_and_pictured(study, tmp_path, caplog):
    empty = save([], tmp_path / "none.tck")
    found = recognise(study, tmp_path, tractogram_file=empty)
    assert "so no bundle can be recognised" in caplog.text
    assert found.bundle_files == {}
    assert found.counts == dict.fromkeys(CURVES, 0)
    assert len(pd.read_csv(found.profiles_file, sep="\t")) == 0
    files = plot(study, found, tmp_path)
    assert "Tracts are drawn flat" not in caplog.text
    assert (tmp_path / "bundletable.html").read_text().count("not found") == len(CURVES)
    assert set(files) == {"bundles", "profiles", "bundletable"}


def test_a_folder_without_models_is_refused(study, tmp_path):
    with pytest.raises(ConfigError, match="--model-bundles"):
        recognise(study, tmp_path, model_dir=str(tmp_path))


def test_a_map_of_several_numbers_a_voxel_is_refused(study, tmp_path):
    file = tmp_path / "dec.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 3), np.float32), AFFINE), file)
    with pytest.raises(TrackingError, match=r"dec\.nii\.gz has the shape"):
        recognise(study, tmp_path, map_files={"dec": str(file)})


def test_a_sidecar_tells_of_its_own_bundle(found):
    node = DescribeBundles(
        counts=found.counts,
        settings=found.settings,
        sources=["bids::all.tck"],
        map_sources=["bids::afd.nii.gz"],
        random_seed=0,
    )
    sidecars = node.run().outputs.sidecars
    n_line = len(nib.streamlines.load(found.bundle_files["cingulum"]).streamlines)
    assert sidecars["cingulum"]["StreamlineCount"] == n_line
    for key, file in (
        ("bundles.tsv", found.table_file),
        ("profiles.tsv", found.profiles_file),
    ):
        assert set(pd.read_csv(file, sep="\t").columns) <= set(sidecars[key])
    for sidecar in sidecars.values():
        assert (
            sidecar["Settings"]["SearchedStreamlineCount"]
            == found.settings["SearchedStreamlineCount"]
        )


def plot(study, found, cwd):
    node = PlotBundles(
        bundle_files=found.bundle_files,
        table_file=found.table_file,
        profiles_file=found.profiles_file,
        mask_file=str(study / "mask.nii.gz"),
    )
    return node.run(cwd=str(cwd)).outputs.out_files


def test_bundles_and_profiles_are_pictured(study, found, tmp_path, monkeypatch):
    monkeypatch.setattr(tracts, "_render_apart", lambda *_: "no driver")
    files = plot(study, found, tmp_path)
    assert set(files) == {"bundles", "profiles", "bundletable"}
    text = (tmp_path / "bundletable.html").read_text()
    assert "not found" in text
    assert "cingulum" in text
