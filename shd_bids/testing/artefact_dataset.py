"""What a dataset with artefacts holds besides the phantom's: opposite b=0 volumes, their truth."""

from pathlib import Path

import numpy as np

from shd_bids.bids.files import write_json
from shd_bids.dwi.gradients import GradientTable, write_fsl_gradients

from .artefact_truth import write_artefact_truth
from .artefacts import ArtefactPhantom
from .dataset import DWI_SIDECAR, write_image
from .t1w import T1W_SIDECAR, scan_t1w
from .truth import TRUTH_STEM

_FIELD = "pepolar"
_CLEAN = {"Description": "Without artefacts; directions as the head saw", "SkullStripped": False}


def write_artefacts(phantom: ArtefactPhantom, bids_dir: Path) -> None:
    """Add them to the dataset of the phantom's scan, and replace its T1w image.

    The opposite b=0 volumes name the series they are meant for in both of BIDS's ways:
    ``B0FieldIdentifier`` and ``IntendedFor``.
    """
    scan, truth = phantom.scan, phantom.truth
    dwi_file = Path("sub-01/dwi/sub-01_dwi.nii.gz")
    n_line = scan.dwi.shape[truth.phase.axis]
    timing = {
        "TotalReadoutTime": truth.phase.readout_s,
        "EffectiveEchoSpacing": truth.phase.readout_s / (n_line - 1),
        "B0FieldIdentifier": _FIELD,
    }
    forth, back = ("ijk"[truth.phase.axis] + end for end in ("", "-")[:: truth.phase.sign])
    write_json(
        bids_dir / dwi_file.with_suffix("").with_suffix(".json"),
        {**DWI_SIDECAR, **timing, "PhaseEncodingDirection": forth, "B0FieldSource": _FIELD},
    )
    write_image(
        phantom.reverse_b0.round().astype(np.int16),
        scan.affine,
        bids_dir / "sub-01/fmap/sub-01_dir-PA_epi",
        {
            **DWI_SIDECAR,
            **timing,
            "PhaseEncodingDirection": back,
            "IntendedFor": [f"bids::{dwi_file}"],
        },
    )
    generator = np.random.default_rng(0)
    t1w, affine = scan_t1w(scan.mask.shape, scan.affine, truth.t1w_transforms, generator)
    t1w_stem = bids_dir / "sub-01/anat/sub-01_T1w"
    write_image(t1w.round().astype(np.int16), affine, t1w_stem, T1W_SIDECAR)

    write_artefact_truth(truth, scan.affine, bids_dir)
    table = GradientTable(phantom.clean.bvals, phantom.clean.bvecs_ras)
    for name, dwi in (("clean", phantom.clean.dwi), ("noiseless", phantom.noiseless)):
        stem = bids_dir / f"{TRUTH_STEM}_desc-{name}_dwi"
        sidecar = {**DWI_SIDECAR, **_CLEAN}
        write_image(dwi.round().astype(np.int16), scan.affine, stem, sidecar)
        write_fsl_gradients(
            table, scan.affine, stem.with_suffix(".bval"), stem.with_suffix(".bvec")
        )
