"""The nodes that picture fibre orientations, on a handful of voxels."""

import nibabel as nib
import numpy as np
from PIL import Image

from shd_bids.interfaces.fodf_figures import PlotFodf

SHAPE = (9, 10, 9)


def test_fodfs_and_peaks_of_all_models_are_pictured(tmp_path):
    rng = np.random.default_rng(5)
    values = {
        "fod": rng.normal(0.1, 0.05, (*SHAPE, 15)), "nufo": np.full(SHAPE, 2.0),
        "peaks": rng.normal(size=(*SHAPE, 9)), "afd": rng.uniform(size=SHAPE),
        "b0": rng.uniform(50, 100, SHAPE), "mask": np.ones(SHAPE),
    }  # fmt: skip
    files = {}
    for name, data in values.items():
        files[name] = str(tmp_path / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([2.0, 2, 2, 1])), files[name])
    maps = {name: files[name] for name in ("nufo", "peaks", "afd")}
    node = PlotFodf(
        models=["shdtv", "csd"], mask_file=files["mask"], b0_file=files["b0"],
        fod_files=[{"WM": files["fod"]}] * 2, map_files=[maps] * 2,
    )  # fmt: skip
    out_files = node.run(cwd=str(tmp_path)).outputs.out_files
    assert set(out_files) == {"fodf", "peaks"}
    for file in out_files.values():
        with Image.open(file) as picture:
            assert min(picture.size) > 500
