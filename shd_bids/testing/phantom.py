"""The phantom as a BIDS dataset, its truth beside it.

``python -m shd_bids.testing.phantom BIDS_DIR`` writes one participant in a few seconds.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float

from shd_bids import __version__
from shd_bids.bids.files import write_json
from shd_bids.errors import OutputError

from .geometry import TISSUES
from .kernels import add_rician_noise
from .scan import Phantom, make_affine, make_phantom, make_single_shell_phantom
from .scheme import MULTI_SHELL, SINGLE_SHELL
from .truth import TRUTH_STEM, Truth, peaks_file, read_truth, tissue_file

__all__ = [
    "MULTI_SHELL",
    "SINGLE_SHELL",
    "Phantom",
    "Truth",
    "make_affine",
    "make_phantom",
    "make_single_shell_phantom",
    "read_truth",
    "write_phantom_bids",
]

_NAME = "shd-bids phantom"
_T1W = np.array([1000.0, 650.0, 250.0])  # of WM, GM, CSF
_README = """\
A numerical phantom: a small brain with known fibres
====================================================

Curved, straight and fanning bundles cross at 30 to 90 degrees, two and three at a time, between a
rim of grey matter and fluid-filled ventricles. Fibres are a stick and an axially symmetric tensor;
noise is Rician. Written by `python -m shd_bids.testing.phantom`.

The truth lies in `derivatives/truth`: fibres as RAS vectors whose length is their volume fraction
(MRtrix3's peaks), tissue fractions (white matter, grey matter, fluid), the brain mask and the
responses (MRtrix3's zonal coefficients, a row for each shell).
"""


def write_phantom_bids(phantom: Phantom, bids_dir: Path) -> Path:
    """Write the phantom as participant ``sub-01`` of a BIDS dataset.

    The dataset is built beside its place and moved there whole; an earlier phantom is replaced.

    Raises
    ------
    OutputError
        Something other than a phantom is already there.
    """
    if bids_dir.exists() and any(bids_dir.iterdir()) and not _is_phantom(bids_dir):
        raise OutputError(
            f"{bids_dir} is not empty and not an earlier phantom, so it is left alone. "
            "Give a directory that does not exist yet."
        )
    bids_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bids_dir.parent, prefix=".phantom-") as scratch:
        build_dir = Path(scratch) / "bids"
        _write_dataset(phantom, build_dir)
        _write_truth(phantom, build_dir)
        if bids_dir.exists():
            shutil.rmtree(bids_dir)
        build_dir.rename(bids_dir)
    return bids_dir


def _is_phantom(bids_dir: Path) -> bool:
    description_file = bids_dir / "dataset_description.json"
    return description_file.is_file() and _NAME in description_file.read_text()


def _write_dataset(phantom: Phantom, bids_dir: Path) -> None:
    dwi_stem, t1w_stem = bids_dir / "sub-01/dwi/sub-01_dwi", bids_dir / "sub-01/anat/sub-01_T1w"
    dwi_stem.parent.mkdir(parents=True)
    t1w_stem.parent.mkdir(parents=True)
    write_json(bids_dir / "dataset_description.json", _describe(_NAME, "raw"))
    (bids_dir / "README").write_text(_README)
    (bids_dir / "participants.tsv").write_text("participant_id\tsex\tage\nsub-01\tn/a\tn/a\n")
    write_json(
        bids_dir / "participants.json",
        {
            "sex": {"Description": "A phantom has none", "Levels": {"n/a": "not applicable"}},
            "age": {"Description": "A phantom has none", "Units": "year"},
        },
    )

    _write_image(phantom.dwi.round().astype(np.int16), phantom.affine, dwi_stem)
    write_json(
        dwi_stem.with_suffix(".json"),
        {
            "MagneticFieldStrength": 3,
            "EchoTime": 0.089,
            "RepetitionTime": 3.6,
            "FlipAngle": 90,
            "PhaseEncodingDirection": "j-",
            "TotalReadoutTime": 0.0525,
            "EffectiveEchoSpacing": 0.0015,
        },
    )
    rotation = phantom.affine[:3, :3] / np.linalg.norm(phantom.affine[:3, :3], axis=0)
    bvecs_fsl = phantom.bvecs_ras @ rotation  # world to voxel axes
    if np.linalg.det(rotation) > 0:
        bvecs_fsl[:, 0] *= -1  # FSL flips x when the determinant is positive
    np.savetxt(dwi_stem.with_suffix(".bval"), phantom.bvals[None], fmt="%d")
    np.savetxt(dwi_stem.with_suffix(".bvec"), bvecs_fsl.T, fmt="%.8f")

    contrast = phantom.truth.tissue @ _T1W
    t1w = add_rician_noise(contrast, 20.0, np.random.default_rng(0))
    _write_image(t1w.round().astype(np.int16), phantom.affine, t1w_stem)
    write_json(
        t1w_stem.with_suffix(".json"),
        {"MagneticFieldStrength": 3, "RepetitionTime": 2.3, "EchoTime": 0.003, "FlipAngle": 9},
    )


def _write_truth(phantom: Phantom, bids_dir: Path) -> None:
    truth = phantom.truth
    stem = bids_dir / TRUTH_STEM
    stem.parent.mkdir(parents=True)
    derivative_dir = bids_dir / "derivatives/truth"
    generated = {"GeneratedBy": [{"Name": "shd-bids", "Version": __version__}]}
    description = _describe(f"{_NAME}: truth", "derivative") | generated
    write_json(derivative_dir / "dataset_description.json", description)
    (derivative_dir / ".bidsignore").write_text("*_dwimap.*\n")
    (derivative_dir / "README").write_text(_README)

    peaks = truth.directions * truth.fractions[..., None]
    images = {
        peaks_file(bids_dir): peaks.reshape(*peaks.shape[:3], -1).astype(np.float32),
        tissue_file(bids_dir): truth.tissue.astype(np.float32),
        Path(f"{stem}_desc-brain_mask.nii.gz"): phantom.mask.astype(np.uint8),
    }
    meanings = (
        "Fibre directions in RAS axes, three volumes a fibre, as long as their volume fraction",
        f"Volume fractions of {', '.join(TISSUES)}",
        "Voxels more than half inside the brain",
    )
    for (file, array), meaning in zip(images.items(), meanings, strict=True):
        image_stem = file.with_name(file.name.removesuffix(".nii.gz"))
        _write_image(array, phantom.affine, image_stem)
        sidecar: dict[str, Any] = {"Description": meaning}
        if file.name.endswith("mask.nii.gz"):
            sidecar |= {"Type": "Brain"}
        write_json(image_stem.with_name(image_stem.name + ".json"), sidecar)
    for tissue, coefficients in phantom.responses.items():
        file = Path(f"{stem}_model-truth_param-response_label-{tissue}_dwimap.txt")
        np.savetxt(file, coefficients, fmt="%.8g", header="Shells: " + _shell_list(phantom))


def _shell_list(phantom: Phantom) -> str:
    return ",".join(f"{bval:g}" for bval in phantom.shell_bvals)


def _describe(name: str, dataset_type: str) -> dict[str, Any]:
    return {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": dataset_type,
        "License": "CC0",
        "Authors": ["The shd-bids developers"],
    }


def _write_image(array: np.ndarray, affine: Float[np.ndarray, "4 4"], stem: Path) -> None:
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    if array.ndim == 4 and array.dtype == np.int16:
        image.header["pixdim"][4] = 3.6
    nib.save(image, f"{stem}.nii.gz")


def main(argv: list[str] | None = None) -> None:
    """Write a phantom dataset from the command line."""
    parser = argparse.ArgumentParser(prog="python -m shd_bids.testing.phantom", description=__doc__)
    parser.add_argument("bids_dir", type=Path, help="where to write; must not exist yet")
    parser.add_argument("--single-shell", action="store_true", help="2 b=0, 32 at b=1000")
    parser.add_argument("--shape", type=int, nargs=3, default=(36, 36, 28), metavar="VOXELS")
    parser.add_argument("--voxel-size-mm", type=float, default=2.0)
    parser.add_argument("--snr", type=float, default=30.0, help="of white matter at b=0")
    parser.add_argument(
        "--orientation", default="oblique", choices=("oblique", "RAS", "LAS", "LPS")
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    shape = tuple(options.shape)
    phantom = make_phantom(
        shape,
        options.voxel_size_mm,
        shells=SINGLE_SHELL if options.single_shell else MULTI_SHELL,
        snr=options.snr,
        seed=options.seed,
        affine=make_affine(shape, options.voxel_size_mm, options.orientation),
    )
    write_phantom_bids(phantom, options.bids_dir)
    print(f"A phantom of {int(phantom.mask.sum())} brain voxels lies in {options.bids_dir}.")


if __name__ == "__main__":
    main()
