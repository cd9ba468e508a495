"""Paths of the raw chain, each from the images to the outputs, against the phantom's truth."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from saved_files import broken_uris
from scipy.ndimage import affine_transform, binary_erosion

from shd_bids.bids.files import write_json
from shd_bids.dwi.gradients import GradientTable, read_fsl_gradients, write_fsl_gradients
from shd_bids.dwi.resample import output_grid
from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.testing.artefacts import ArtefactPhantom, Artefacts, make_artefact_phantom
from shd_bids.testing.dataset import write_image

SHAPE, VOXEL_MM, READOUT_S = (24, 24, 20), 3.0, 0.04
RESOLUTION_MM = 2.5
SNR = 40.0  # of white matter at b=0
MOVED_DEG = 4.0
STEM = "sub-01/dwi/sub-01_space-orig"


@dataclass(frozen=True)
class Chain:
    """What went in, the truth of each run in their order, and what came out."""

    phantoms: list[ArtefactPhantom]
    out: Path


def _image(chain: Chain, name: str = "desc-preproc_dwi") -> nib.Nifti1Image:
    return nib.load(f"{chain.out}/{STEM}_{name}.nii.gz")


def _sidecar(chain: Chain) -> dict:
    return json.loads(Path(f"{chain.out}/{STEM}_desc-preproc_dwi.json").read_text())


def _gradients(chain: Chain) -> GradientTable:
    files = (Path(f"{chain.out}/{STEM}_desc-preproc_dwi.{kind}") for kind in ("bval", "bvec"))
    return read_fsl_gradients(*files, _image(chain).affine)


def _confounds(chain: Chain) -> pd.DataFrame:
    file = chain.out / "sub-01/dwi/sub-01_desc-confounds_timeseries.tsv"
    return pd.read_csv(file, sep="\t")


def _write_run(phantom: ArtefactPhantom, stem: Path, direction: str, gain: float) -> None:
    scan = phantom.scan
    sidecar = {
        "PhaseEncodingDirection": direction,
        "TotalReadoutTime": READOUT_S,
        "RepetitionTime": 3.6,
    }
    write_image((gain * scan.dwi).round().astype(np.int16), scan.affine, stem, sidecar)
    table = GradientTable(scan.bvals, scan.bvecs_ras)
    write_fsl_gradients(table, scan.affine, Path(f"{stem}.bval"), Path(f"{stem}.bvec"))


def _preprocess(root: Path, *flags: str) -> Path:
    write_json(root / "bids/dataset_description.json", {"Name": "phantom", "BIDSVersion": "1.10.0"})
    command = [
        *(sys.executable, "-m", "shd_bids.cli.run", root / "bids", root / "out", "participant"),
        *("-w", root / "work", "--level", "preproc", "--omp-nthreads", "1", *flags),
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "out"


@pytest.fixture(scope="module")
def denoised(tmp_path_factory) -> Chain:
    """One run of a head that keeps still, denoised by Patch2Self."""
    root = tmp_path_factory.mktemp("denoised")
    phantom = make_artefact_phantom(
        SHAPE,
        VOXEL_MM,
        shells={0: 2, 1000: 10},
        snr=SNR,
        seed=2,
        artefacts=Artefacts.none(),
        phase=PhaseEncoding.from_bids("j-", READOUT_S),
    )
    _write_run(phantom, root / "bids/sub-01/dwi/sub-01_dwi", "j-", 1.0)
    flags = ("--denoise-method", "patch2self", "--hmc", "none")
    return Chain([phantom], _preprocess(root, *flags))


@pytest.fixture(scope="module")
def merged(tmp_path_factory) -> Chain:
    """Two runs of opposite phase encoding, each with its own shell and gain, in smaller voxels."""
    root = tmp_path_factory.mktemp("merged")
    phantoms = []
    for run, (direction, label, shells, gain) in enumerate(
        [("j-", "AP", {0: 5, 1000: 20}, 1.0), ("j", "PA", {0: 3, 2000: 12}, 1.3)], start=1
    ):
        phantom = make_artefact_phantom(
            SHAPE,
            VOXEL_MM,
            shells=shells,
            snr=SNR,
            seed=run,
            artefacts=Artefacts(3.0, MOVED_DEG, 0.0, 40.0, 0.0, False, 0.0),
            phase=PhaseEncoding.from_bids(direction, READOUT_S),
        )
        phantoms.append(phantom)
        stem = root / f"bids/sub-01/dwi/sub-01_dir-{label}_run-{run}_dwi"
        _write_run(phantom, stem, direction, gain)
    flags = ("--output-resolution", str(RESOLUTION_MM))
    return Chain(phantoms, _preprocess(root, *flags))


def _truth(chain: Chain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give b-values, directions as the head saw them, and as the scanner applied them."""
    joined = [
        np.concatenate(parts)
        for parts in zip(
            *((one.clean.bvals, one.clean.bvecs_ras, one.scan.bvecs_ras) for one in chain.phantoms),
            strict=True,
        )
    ]
    return joined[0], joined[1], joined[2]


def _angles_deg(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.abs((found * truth).sum(axis=1)).clip(0, 1)))


def _read_on(image: nib.Nifti1Image, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Read a series at the voxels of another grid."""
    to_image = np.linalg.solve(image.affine, affine)
    volumes = [
        affine_transform(volume, to_image[:3, :3], to_image[:3, 3], shape, order=1)
        for volume in np.moveaxis(image.get_fdata(), 3, 0)
    ]
    return np.stack(volumes, axis=3)


@pytest.fixture(params=["denoised", "merged"])
def chain(request) -> Chain:
    return request.getfixturevalue(request.param)


def test_the_volumes_keep_their_order_and_their_b_values(chain):
    bvals, seen, _ = _truth(chain)
    table = _gradients(chain)
    np.testing.assert_array_equal(table.bvals, bvals)
    weighted = bvals > 0
    # no direction is nearer to another volume's than to its own
    nearest = np.abs(table.bvecs_ras[weighted] @ seen[weighted].T).argmax(axis=1)
    np.testing.assert_array_equal(nearest, np.arange(weighted.sum()))


def test_the_gradients_turn_with_the_head(merged):
    bvals, seen, applied = _truth(merged)
    low = (bvals > 0) & (bvals <= 1000)  # so small a head is not followed well above
    before = _angles_deg(applied[low], seen[low])
    after = _angles_deg(_gradients(merged).bvecs_ras[low], seen[low])
    assert np.median(after) < 0.5 * np.median(before)


def test_a_row_of_confounds_belongs_to_each_volume(merged):
    bvals, _, _ = _truth(merged)
    table = _confounds(merged)
    np.testing.assert_array_equal(table["bval"], bvals)
    directions = table[["grad_x", "grad_y", "grad_z"]].to_numpy()
    np.testing.assert_allclose(directions, _gradients(merged).bvecs_ras, atol=1e-3)
    found = table[["trans_x", "trans_y", "trans_z"]].to_numpy()
    moved = np.concatenate([one.truth.transforms.translation_mm for one in merged.phantoms])
    error = np.linalg.norm(found - moved, axis=1)
    assert np.median(error) < 0.5 * np.median(np.linalg.norm(moved, axis=1))


def test_every_volume_shows_the_brain_as_bright_and_as_shaped_as_at_rest(chain):
    truth = np.concatenate([one.noiseless for one in chain.phantoms], axis=3)
    first, bvals = chain.phantoms[0].scan, _truth(chain)[0]
    found = _read_on(_image(chain), first.affine, SHAPE)
    inside = binary_erosion(first.mask)
    ratio = found[inside].mean(axis=0) / truth[inside].mean(axis=0)
    alike = [
        np.corrcoef(found[inside, volume], truth[inside, volume])[0, 1]
        for volume in range(len(bvals))
    ]
    np.testing.assert_allclose(ratio, 1, atol=0.04)
    assert min(alike) > 0.85


def test_the_sidecar_names_what_was_done(denoised):
    settings = _sidecar(denoised)["Settings"]
    assert settings["DenoiseMethod"] == "patch2self"


def test_the_output_has_the_voxels_asked_for_about_the_same_centre(merged):
    affine, shape = output_grid(merged.phantoms[0].scan.affine, SHAPE, RESOLUTION_MM)
    for name in ("desc-preproc_dwi", "desc-brain_mask", "dwiref"):
        image = _image(merged, name)
        assert image.shape[:3] == shape
        np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        np.testing.assert_allclose(image.header.get_zooms()[:3], RESOLUTION_MM, atol=1e-5)


def test_the_merged_series_names_both_runs_and_what_they_share(merged):
    sidecar = _sidecar(merged)
    folder = "bids:raw:sub-01/dwi/sub-01"
    assert sidecar["Sources"] == [
        f"{folder}_dir-AP_run-1_dwi.nii.gz",
        f"{folder}_dir-PA_run-2_dwi.nii.gz",
    ]
    assert sidecar["TotalReadoutTime"] == READOUT_S
    assert "PhaseEncodingDirection" not in sidecar
    assert sidecar["Settings"]["DistortionCorrection"] == "reverse-phase"


def test_all_sources_of_all_files_exist(chain):
    assert broken_uris(chain.out, {"raw": chain.out.parent / "bids"}) == []
