"""The connectome's tables say what streamlines join, and its picture can be drawn of anything."""

from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine
from PIL import Image
from tractography.fodfs import AFFINES, save_image

from shd_bids.interfaces.connectome import BuildConnectome, PlotConnectomes, read_matrix
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import write_tck
from shd_bids.tractography.weights import write_weights

AFFINE = AFFINES["oblique"]


def _files(tmp_path: Path, weights=None) -> dict[str, str]:
    """Write a bar of three regions, two of one name, and three streamlines along it."""
    labels = np.zeros((12, 3, 3), dtype=np.int32)
    labels[0], labels[11], labels[6, 0, 0] = 2**31 - 1, 4, 9
    save_image(labels, AFFINE, tmp_path / "atlas.nii")
    save_image(np.full(labels.shape, 0.5, np.float32), AFFINE, tmp_path / "afd.nii")
    rows = ["index\tname", "4\ta", f"{2**31 - 1}\ta", "9\tb", "77\tlost"]
    (tmp_path / "regions.tsv").write_text("\n".join(rows) + "\n")
    along = np.linspace(0, 11, 30)
    lines = [np.column_stack([along[:n], np.ones(n), np.ones(n)]) for n in (30, 30, 6)]
    batch = Streamlines.of(apply_affine(AFFINE, line) for line in lines)
    write_tck([batch], tmp_path / "a.tck")
    files = {"tck": "a.tck", "atlas": "atlas.nii", "table": "regions.tsv", "afd": "afd.nii"}
    if weights is not None:
        write_weights(np.array(weights), tmp_path / "w.tsv")
        files["weights"] = "w.tsv"
    return {f"{name}_file": str(tmp_path / file) for name, file in files.items()}


def test_the_tables_hold_what_joins_the_regions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = BuildConnectome(**_files(tmp_path, [0.5, 2, 9]), radius_mm=1.9).run().outputs
    assert set(out.table_files) == {"count", "meanlength", "meanafd", "weightsum", "nodes"}
    names, count = read_matrix(out.table_files["count"])
    assert names == ["a_4", f"a_{2**31 - 1}", "b", "lost"]
    assert count[0, 1] == count[1, 0] == 2
    assert count.sum() == 4
    _, length = read_matrix(out.table_files["meanlength"])
    assert length[0, 1] == pytest.approx(22, rel=1e-4)
    assert np.isnan(length).sum() == 14
    assert read_matrix(out.table_files["meanafd"])[1][0, 1] == 0.5
    assert read_matrix(out.table_files["weightsum"])[1][0, 1] == 2.5
    nodes = Path(out.table_files["nodes"]).read_text().splitlines()
    assert nodes[0] == "index\tname\tn_voxels\tn_ends"
    assert nodes[1] == "4\ta_4\t9\t2"
    assert nodes[2].endswith("\t9\t3")
    assert nodes[4] == "77\tlost\t0\t0"
    assert out.found == {
        "AssignmentRadiusMillimetres": 1.9,
        "StreamlineCount": 3,
        "AssignedStreamlineCount": 2,
    }


def test_without_weights_there_is_no_sum_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = BuildConnectome(**_files(tmp_path), radius_mm=4.0).run().outputs.table_files
    assert "weightsum" not in files


def test_atlases_are_pictured_and_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built = BuildConnectome(**_files(tmp_path), radius_mm=1.9).run().outputs
    figures = (
        PlotConnectomes(
            names=["One", "Two"], table_files=[built.table_files] * 2, found=[built.found] * 2
        )
        .run()
        .outputs.out_files
    )
    table = Path(figures["connectomenumbers"]).read_text()
    assert "One" in table
    assert "66.7" in table
    assert Image.open(figures["connectomes"]).width > 1000


def test_no_streamline_is_pictured_too(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    files = _files(tmp_path)
    write_tck([], tmp_path / "a.tck")
    built = BuildConnectome(**files, radius_mm=4.0).run().outputs
    _, count = read_matrix(built.table_files["count"])
    assert count.sum() == 0
    assert "None of 0 streamlines" in caplog.text
    PlotConnectomes(names=["One"], table_files=[built.table_files], found=[built.found]).run()
