"""Gradients and anatomy that came with a preprocessed series, and what their numbers mean."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shd_bids.bids.companions import Choices, find_companion, find_sidecar
from shd_bids.bids.names import BidsName
from shd_bids.config import TISSUES
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)

IMAGES = (".nii.gz", ".nii")
_TRANSFORMS = (".h5", ".txt", ".mat")
_USUAL_TEMPLATE = "MNI152NLin2009cAsym"
_BIDS_LABELS = {"GM": 1, "WM": 2, "CSF": 3}
_QSIPREP_LABELS = {"CSF": 1, "GM": 2, "WM": 3}


@dataclass(frozen=True)
class GradientFiles:
    """Files of a gradient table and their convention.

    ``mrtrix``: one ``.b`` file along scanner axes. ``image-axes`` and ``fsl``: a ``.bval`` and a
    ``.bvec`` file, along the image's axes as they are, or mirrored by FSL's rule. ``reason`` says
    in one sentence why, for log and sidecar.
    """

    files: tuple[Path, ...]
    convention: str
    reason: str


@dataclass(frozen=True)
class PreprocessedAnatomy:
    """Anatomical images in the space of the series, and transforms to and from a template.

    What is not there is None. ``dseg_labels`` gives the numbers of WM, GM and CSF in
    ``dseg_file``, which are not BIDS's usual ones in what QSIPrep writes. ``probseg_files`` are
    those of WM, GM and CSF, or empty. ``to_template_file`` brings images of this space to the
    template, as ``antsApplyTransforms`` uses it.
    """

    t1w_file: Path | None
    mask_file: Path | None
    dseg_file: Path | None
    dseg_labels: dict[str, int]
    probseg_files: tuple[Path, ...]
    to_template_file: Path | None
    from_template_file: Path | None
    template: str | None

    @property
    def tissue_files(self) -> tuple[Path, ...]:
        """Probabilities of WM, GM and CSF, else the one segmentation, else nothing."""
        return self.probseg_files or ((self.dseg_file,) if self.dseg_file else ())


def find_gradients(
    dwi_file: Path, entities: Mapping[str, str], space: str | None, *, by_qsiprep: bool
) -> GradientFiles:
    """Find the gradient files of a preprocessed series and settle their convention.

    Parameters
    ----------
    dwi_file
        Preprocessed image.
    entities
        Of its name, without space and desc.
    space
        Label of its space.
    by_qsiprep
        Whether QSIPrep wrote it: its ``.bvec`` does not follow FSL's rule.

    Returns
    -------
    GradientFiles
        The ``.b`` file where there is one.

    Raises
    ------
    BidsDataError
        If there is neither a ``.b`` file nor the two others.
    """
    choices: Choices = {"desc": ["preproc"], "space": [space]}
    found = {
        extension: find_sidecar(dwi_file, entities, extension=extension, choices=choices)
        for extension in (".b", ".bval", ".bvec")
    }
    table, bval, bvec = found.values()
    if table is not None:
        reason = f"The directions of {table.name} run along scanner axes, as MRtrix3 writes them."
        gradients = GradientFiles((table,), "mrtrix", reason)
    elif bval is None or bvec is None:
        stem = dwi_file.name.partition(".")[0]
        beside = ", ".join(file.name for file in found.values() if file) or "none of them"
        raise BidsDataError(
            f"{dwi_file.name} has no gradient table: searched in {dwi_file.parent} for {stem}.b, "
            f"or {stem}.bval and {stem}.bvec; found {beside}. Copy what is missing there."
        )
    elif by_qsiprep:
        reason = (
            f"The directions of {bvec.name} were taken along the image's axes, without FSL's "
            "mirror, because QSIPrep wrote them and there is no .b file."
        )
        gradients = GradientFiles((bval, bvec), "image-axes", reason)
    else:
        reason = (
            f"The directions of {bvec.name} were read by FSL's rule, because there is no .b file "
            "and the dataset's GeneratedBy does not name QSIPrep."
        )
        gradients = GradientFiles((bval, bvec), "fsl", reason)
    LOGGER.info(gradients.reason)
    return gradients


def find_anatomy(
    participant_dir: Path, entities: Mapping[str, str], space: str | None, *, by_qsiprep: bool
) -> PreprocessedAnatomy | None:
    """Find the anatomical images that lie in the space of a series.

    The session's own folder comes before the participant's. A series without a space label, or
    with another than ACPC and T1w, has an anatomy only if the images carry the same label: where
    nothing says that they are aligned they are not taken to be.

    Parameters
    ----------
    participant_dir
        Folder ``sub-*``.
    entities
        ``sub`` and, if there is one, ``ses`` of the series.
    space
        Of the series. In ``T1w`` space, images without label are the anatomy. Transforms of ACPC
        images were called ``from-T1w`` for some time.
    by_qsiprep
        Whether QSIPrep wrote the files.

    Returns
    -------
    PreprocessedAnatomy or None
        None where there is nothing.
    """
    own = {key: entities[key] for key in ("sub", "ses") if key in entities}
    folders = [participant_dir / "anat"]
    if "ses" in own:
        folders.insert(0, participant_dir / f"ses-{own['ses']}" / "anat")
    for folder in folders:
        anatomy = _read_folder(folder, own, space, by_qsiprep)
        if anatomy is not None:
            return anatomy
    return None


def _read_folder(
    folder: Path, own: Mapping[str, str], space: str | None, by_qsiprep: bool
) -> PreprocessedAnatomy | None:
    if space is None:
        return None
    spaces: list[str | None] = [space, None] if space == "T1w" else [space]
    # the image may have been made from one acquisition or run of several
    free: dict[str, list[str | None]] = {
        key: [None, *labels] for key, labels in _labels(folder, ("acq", "rec", "run")).items()
    }

    def find(suffix: str, desc: str | None, label: str | None = None) -> Path | None:
        choices: Choices = {"space": spaces, "desc": [desc], "label": [label], **free}
        return find_companion(folder, own, suffix=suffix, extensions=IMAGES, choices=choices)

    def transform(source: list[str], target: list[str]) -> Path | None:
        choices: Choices = {"from": source, "to": target, "mode": ["image"], **free}
        return find_companion(folder, own, suffix="xfm", extensions=_TRANSFORMS, choices=choices)

    here = [space, "T1w"] if space == "ACPC" else [space]
    labels = _labels(folder, ("to",)).get("to", [])
    templates = [label for label in labels if label.startswith("MNI")]
    template = min(templates, key=lambda label: (label != _USUAL_TEMPLATE, label), default=None)
    probsegs = [find("probseg", None, tissue) for tissue in TISSUES]
    anatomy = PreprocessedAnatomy(
        find("T1w", "preproc"),
        find("mask", "brain"),
        find("dseg", None),
        _QSIPREP_LABELS if by_qsiprep else _BIDS_LABELS,
        tuple(file for file in probsegs if file) if all(probsegs) else (),
        transform(here, [template]) if template else None,
        transform([template], here) if template else None,
        template,
    )
    found = (anatomy.t1w_file, anatomy.mask_file, *anatomy.tissue_files)
    return anatomy if any(found) else None


def _labels(folder: Path, keys: tuple[str, ...]) -> dict[str, list[str]]:
    """List the labels of some entities that the files of a folder have."""
    names = [name for file in sorted(folder.glob("sub-*")) if (name := BidsName.parse(file))]
    labels = {
        key: sorted({name.entities[key] for name in names if key in name.entities}) for key in keys
    }
    return {key: values for key, values in labels.items() if values}
