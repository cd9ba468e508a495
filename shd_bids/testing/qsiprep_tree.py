"""A phantom as QSIPrep would have left it: LPS+ images, `.b`, `.bvec` along the image's axes.

Nothing is resampled: axes are flipped or permuted until they run left, posterior and superior, so
an oblique phantom stays oblique and its voxels keep their values.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from jaxtyping import Float
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from shd_bids.anat.transforms import chain, from_matrix, write_transform
from shd_bids.anat.volume import Grid

from .geometry import TISSUES
from .scan import Phantom
from .truth import sample_truth

#: Where points of the phantom's space lie in the template's, RAS+ mm.
TO_TEMPLATE = np.array(
    [[1.1, 0.0, 0.0, 3.0], [0.0, 1.05, 0.1, -4.0], [0.0, -0.1, 1.0, 5.0], [0.0, 0.0, 0.0, 1.0]]
)

_TEMPLATE = "MNI152NLin2009cAsym"
_T1W = np.array([1000.0, 650.0, 250.0])  # of WM, GM, CSF
_LABELS = np.array([3, 2, 1])  # QSIPrep's numbers of WM, GM and CSF
_MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def write_qsiprep_tree(
    phantom: Phantom,
    dataset_dir: Path,
    *,
    participant_label: str = "01",
    sessions: Sequence[str] = (),
    space: str = "ACPC",
    anatomy: bool = True,
    mrtrix_table: bool = True,
    anat_split: int = 1,
    probsegs: bool = False,
) -> Path:
    """Write a phantom as derivatives of QSIPrep.

    Parameters
    ----------
    phantom
        On any grid.
    dataset_dir
        Written to; other participants' files stay.
    participant_label, sessions
        Without prefix; the same images for each session, and none by default.
    space
        ``ACPC``, or ``T1w`` as before QSIPrep 1.0: then the anatomy carries no label.
    anatomy
        Whether there is an ``anat`` folder. Its transforms are those of `TO_TEMPLATE`.
    mrtrix_table
        Whether there is a ``.b`` file beside ``.bval`` and ``.bvec``.
    anat_split
        Voxels of the anatomy along each edge of one of the series: QSIPrep's are finer.
    probsegs
        Whether there are probabilities of the tissues beside the segmentation, as QSIPrep wrote
        in its early days.

    Returns
    -------
    Path
        The dataset.
    """
    dataset_dir.mkdir(parents=True, exist_ok=True)
    _write_json(
        dataset_dir / "dataset_description.json",
        _describe("1.0.1" if space == "ACPC" else "0.21.4"),
    )
    participant_dir = dataset_dir / f"sub-{participant_label}"
    labels: list[str | None] = [*sessions] or [None]
    for session in labels:
        parts = [f"sub-{participant_label}", *([f"ses-{session}"] if session else [])]
        folder = dataset_dir.joinpath(*parts, "dwi")
        folder.mkdir(parents=True, exist_ok=True)
        _write_dwi(phantom, folder, "_".join(parts), space, mrtrix_table)
    if anatomy:
        (participant_dir / "anat").mkdir(parents=True, exist_ok=True)
        stem = participant_dir / "anat" / participant_dir.name
        _write_anatomy(phantom, stem, space, anat_split, probsegs)
    return dataset_dir


def as_lps(
    data: np.ndarray, affine: Float[np.ndarray, "4 4"]
) -> tuple[np.ndarray, Float[np.ndarray, "4 4"]]:
    """Flip and permute an image's axes until they run left, posterior and superior."""
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(("L", "P", "S")))
    image = cast(nib.Nifti1Image, nib.Nifti1Image(data, affine).as_reoriented(turn))
    return np.asanyarray(image.dataobj), np.asarray(image.affine)


def _write_dwi(phantom: Phantom, folder: Path, source: str, space: str, mrtrix_table: bool) -> None:
    stem = folder / f"{source}_space-{space}"
    affine = _write_image(
        phantom.dwi.astype(np.float32), phantom.affine, f"{stem}_desc-preproc_dwi"
    )
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    table = np.column_stack([phantom.bvecs_ras, phantom.bvals])
    if mrtrix_table:
        np.savetxt(f"{stem}_desc-preproc_dwi.b", table, fmt="%.8f")
    np.savetxt(f"{stem}_desc-preproc_dwi.bval", phantom.bvals[None], fmt="%d")
    np.savetxt(f"{stem}_desc-preproc_dwi.bvec", (phantom.bvecs_ras @ axes).T, fmt="%.8f")
    fields = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.0525, "SkullStripped": False}
    _write_json(Path(f"{stem}_desc-preproc_dwi.json"), fields)
    _write_image(phantom.mask.astype(np.uint8), phantom.affine, f"{stem}_desc-brain_mask")
    b0 = phantom.dwi[..., phantom.bvals == 0].mean(axis=3).astype(np.float32)
    _write_image(b0, phantom.affine, f"{stem}_dwiref")
    columns = ["framewise_displacement", *_MOTION, "bval"]
    rows = [["0", *["0"] * len(_MOTION), f"{bval:g}"] for bval in phantom.bvals]
    rows[0][0] = "n/a"
    _write_table(folder / f"{source}_desc-confounds_timeseries.tsv", columns, rows)
    quality = {"file_name": stem.name, "mean_fd": "0", "max_fd": "0", "t1_neighbor_corr": "0.9"}
    _write_table(Path(f"{stem}_desc-image_qc.tsv"), list(quality), [list(quality.values())])


def _write_anatomy(
    phantom: Phantom, stem: Path, space: str, anat_split: int, probsegs: bool
) -> None:
    labelled = f"{stem}_space-{space}" if space == "ACPC" else f"{stem}"
    grid = Grid(phantom.truth.tissue.shape[:3], phantom.affine)
    fine = grid.with_voxels(grid.voxel_mm[0] / anat_split)
    truth = phantom.truth if anat_split == 1 else sample_truth(fine.shape, fine.affine)[0]
    tissue = truth.tissue
    segmentation = np.where(truth.mask, _LABELS[tissue.argmax(axis=-1)], 0).astype(np.uint8)
    images = {
        "desc-preproc_T1w": (tissue @ _T1W).astype(np.float32),
        "desc-brain_mask": truth.mask.astype(np.uint8),
        "dseg": segmentation,
    }
    if probsegs:
        images |= {
            f"label-{name}_probseg": tissue[..., index].astype(np.float32)
            for index, name in enumerate(TISSUES)
        }
    for ending, data in images.items():
        _write_image(data, fine.affine, f"{labelled}_{ending}")
    for source, target, matrix in (
        (space, _TEMPLATE, np.linalg.inv(TO_TEMPLATE)),
        (_TEMPLATE, space, TO_TEMPLATE),
    ):
        file = Path(f"{stem}_from-{source}_to-{target}_mode-image_xfm.h5")
        write_transform(chain(from_matrix(matrix)), file)


def _describe(version: str) -> dict[str, Any]:
    return {
        "Name": "qsiprep output",
        "BIDSVersion": "1.1.1",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "qsiprep", "Version": version}],
    }


def _write_image(
    data: np.ndarray, affine: Float[np.ndarray, "4 4"], stem: str
) -> Float[np.ndarray, "4 4"]:
    turned, turned_affine = as_lps(data, affine)
    nib.save(nib.Nifti1Image(turned, turned_affine), f"{stem}.nii.gz")
    return turned_affine


def _write_table(file: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    file.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))


def _write_json(file: Path, fields: dict[str, Any]) -> None:
    file.write_text(json.dumps(fields, indent=2))
