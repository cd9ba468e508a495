"""What went wrong in a scan of the phantom: in memory and as files beside its fibres."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from jaxtyping import Float

from shd_bids.bids.files import write_json, write_text
from shd_bids.dwi.transforms import (
    PhaseEncoding,
    VolumeTransforms,
    read_transforms,
    write_transforms,
)
from shd_bids.errors import BidsDataError

from .truth import TRUTH_STEM, read_array

_MOTIONS = {
    "transforms": "desc-truth_motion.tsv",
    "reverse_transforms": "dir-PA_desc-truth_motion.tsv",
    "t1w_transforms": "acq-T1w_desc-truth_motion.tsv",
}
_DROPOUT = "desc-truth_dropout.tsv"
_MAPS = {
    "field_hz": ("fieldmap", {"Units": "Hz", "Description": "Off-resonance, head at rest"}),
    "bias": ("bias", {"Description": "Sensitivity of the coil that multiplies the signal"}),
}
_MOTION_COLUMNS = {
    "Description": "Where the head lies in each volume, about the centre of the DWI's grid",
    **{f"trans_{x}": {"Description": f"Along {x}, RAS+", "Units": "mm"} for x in "xyz"},
    **{f"rot_{x}": {"Description": f"About fixed {x}, x first", "Units": "rad"} for x in "xyz"},
    **{
        f"eddy_{x}": {"Description": f"Along the phase axis for each mm along {x} of the image"}
        for x in "xyz"
    },
    "eddy_offset": {"Description": "Along the phase axis, in the centre", "Units": "mm"},
}


@dataclass(frozen=True, eq=False)
class ArtefactTruth:
    """Every artefact of a scan, by the convention of `shd_bids.dwi.transforms`."""

    phase: PhaseEncoding
    transforms: VolumeTransforms
    reverse_transforms: VolumeTransforms  # of the b=0 volumes of opposite phase encoding
    t1w_transforms: VolumeTransforms  # of the one T1w volume, about the DWI's centre
    field_hz: Float[np.ndarray, "x y z"]  # on the corrected grid
    bias: Float[np.ndarray, "x y z"]  # multiplies the signal
    kept_signal: Float[np.ndarray, "volume z"]  # of each slice; below 1 where it dropped out


def write_artefact_truth(
    truth: ArtefactTruth, affine: Float[np.ndarray, "4 4"], bids_dir: Path
) -> None:
    """Write what went wrong into the truth derivative of a phantom dataset."""
    for name, ending in _MOTIONS.items():
        write_transforms(getattr(truth, name), _file(bids_dir, ending))
    for ending in _MOTIONS.values():
        write_json(_file(bids_dir, ending).with_suffix(".json"), _MOTION_COLUMNS)
    for name, (suffix, sidecar) in _MAPS.items():
        image = nib.Nifti1Image(getattr(truth, name).astype(np.float32), affine)
        nib.save(image, _file(bids_dir, f"desc-truth_{suffix}.nii.gz"))
        write_json(_file(bids_dir, f"desc-truth_{suffix}.json"), sidecar)
    volume, slice_ = np.nonzero(truth.kept_signal < 1)
    rows = {"volume": volume, "slice": slice_, "kept": truth.kept_signal[volume, slice_]}
    write_text(_file(bids_dir, _DROPOUT), pd.DataFrame(rows).to_csv(sep="\t", index=False))
    columns = {
        "volume": {"Description": "Of the series, from 0"},
        "slice": {"Description": "Along the third axis of the image, from 0"},
        "kept": {"Description": "Share of the signal that is left"},
    }
    write_json(_file(bids_dir, _DROPOUT).with_suffix(".json"), columns)


def read_artefact_truth(bids_dir: Path, phase: PhaseEncoding) -> ArtefactTruth:
    """Read what `write_artefact_truth` wrote; the phase encoding is in the images' sidecar.

    Raises
    ------
    BidsDataError
        The dataset has none.
    """
    if not _file(bids_dir, _DROPOUT).is_file():
        raise BidsDataError(
            f"{bids_dir} holds no {_file(bids_dir, _DROPOUT).relative_to(bids_dir)}. Write the "
            "dataset with `python -m shd_bids.testing.phantom BIDS_DIR --artefacts`."
        )
    transforms, reverse, t1w = (read_transforms(_file(bids_dir, end)) for end in _MOTIONS.values())
    field_hz, bias = (
        read_array(_file(bids_dir, f"desc-truth_{suffix}.nii.gz")) for suffix, _ in _MAPS.values()
    )
    dropped = pd.read_csv(_file(bids_dir, _DROPOUT), sep="\t")
    kept = np.ones((transforms.n_volume, bias.shape[2]))
    kept[dropped["volume"], dropped["slice"]] = dropped["kept"]
    return ArtefactTruth(phase, transforms, reverse, t1w, field_hz, bias, kept)


def _file(bids_dir: Path, ending: str) -> Path:
    return bids_dir / f"{TRUTH_STEM}_{ending}"
