"""The node of the tracts that can be turned draws the same streamlines each time."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype import Node

from shd_bids.interfaces.scene_figures import PlotScene
from shd_bids.tractography.streamlines import Streamlines
from shd_bids.tractography.tractogram import write_tck


def _write_lines(file: Path, n_line: int) -> str:
    steps = np.linspace(0, 20, 41)[:, None] * [1.0, 0.0, 0.0]
    lines = Streamlines.of(steps + np.array([0, y, 5]) for y in np.linspace(0, 20, n_line))
    write_tck(iter([lines]), file)
    return str(file)


def test_many_streamlines_are_thinned_and_absent_bundles_left_out(tmp_path):
    nib.Nifti1Image(np.ones((12, 12, 6), np.uint8), 2 * np.eye(4)).to_filename(
        tmp_path / "m.nii.gz"
    )
    files = {"AF": _write_lines(tmp_path / "af.tck", 3), "CC": _write_lines(tmp_path / "cc.tck", 0)}
    fragments = []
    for name in ("first", "second"):
        node = Node(PlotScene(), name=name, base_dir=tmp_path)
        node.inputs.trait_set(
            tck_file=_write_lines(tmp_path / "all.tck", 5000),
            mask_file=str(tmp_path / "m.nii.gz"),
            bundle_files=files,
        )
        fragments.append(Path(node.run().outputs.out_files["scene3d"]).read_text(encoding="utf-8"))
    assert fragments[0] == fragments[1]
    head = json.loads(re.search(r'tract-view-head">(.*?)</script>', fragments[0])[1])
    assert [(group["name"], group["n_line"]) for group in head["groups"]] == [
        ("All streamlines, by direction", 4000),
        ("AF", 3),
    ]
