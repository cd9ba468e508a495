"""What every phantom dataset is made of: its description, its images, and the folder itself."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float

from shd_bids.bids.files import write_json
from shd_bids.errors import OutputError

PHANTOM_NAME = "shd-bids phantom"
DWI_SIDECAR: Mapping[str, Any] = {
    "MagneticFieldStrength": 3,
    "EchoTime": 0.089,
    "RepetitionTime": 3.6,
    "FlipAngle": 90,
    "PhaseEncodingDirection": "j-",
    "TotalReadoutTime": 0.0525,
    "EffectiveEchoSpacing": 0.0015,
}


@contextmanager
def new_dataset(bids_dir: Path) -> Iterator[Path]:
    """Give a folder to build a dataset in, and move it to its place whole.

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
        yield build_dir
        if bids_dir.exists():
            shutil.rmtree(bids_dir)
        build_dir.rename(bids_dir)


def describe_dataset(name: str, dataset_type: str) -> dict[str, Any]:
    """Give the content of ``dataset_description.json``."""
    return {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": dataset_type,
        "License": "CC0",
        "Authors": ["The shd-bids developers"],
    }


def write_image(
    array: np.ndarray, affine: Float[np.ndarray, "4 4"], stem: Path, sidecar: Mapping[str, Any]
) -> None:
    """Write an image and its sidecar; the name may hold dots.

    Parameters
    ----------
    array
        Numbers of the type to be stored.
    affine
        Voxel to RAS mm.
    stem
        Name without ``.nii.gz``.
    sidecar
        What the JSON file says.
    """
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    if array.ndim == 4 and "RepetitionTime" in sidecar:
        image.header["pixdim"][4] = sidecar["RepetitionTime"]
    stem.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, f"{stem}.nii.gz")
    write_json(stem.with_name(f"{stem.name}.json"), sidecar)


def _is_phantom(bids_dir: Path) -> bool:
    description_file = bids_dir / "dataset_description.json"
    return description_file.is_file() and PHANTOM_NAME in description_file.read_text()
