"""The phantom as a BIDS dataset, its truth beside it.

``python -m shd_bids.testing.phantom BIDS_DIR`` writes one participant in a few seconds.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from shd_bids import __version__
from shd_bids.bids.files import write_json
from shd_bids.dwi.gradients import GradientTable, write_fsl_gradients

from .artefact_dataset import write_artefacts
from .artefacts import ArtefactPhantom, make_artefact_phantom
from .dataset import DWI_SIDECAR, PHANTOM_NAME, describe_dataset, new_dataset, write_image
from .geometry import TISSUES
from .kernels import add_rician_noise
from .scan import Phantom, make_affine, make_phantom, make_single_shell_phantom
from .scheme import MULTI_SHELL, SINGLE_SHELL
from .t1w import T1W, T1W_SIDECAR, T1W_SIGMA
from .truth import TRUTH_STEM, Truth, peaks_file, read_truth, tissue_file

__all__ = [
    "MULTI_SHELL",
    "SINGLE_SHELL",
    "ArtefactPhantom",
    "Phantom",
    "Truth",
    "make_affine",
    "make_artefact_phantom",
    "make_phantom",
    "make_single_shell_phantom",
    "read_truth",
    "write_phantom_bids",
]

_README = """\
A numerical phantom: a small brain with known fibres
====================================================

Curved, straight and fanning bundles cross at 30 to 90 degrees, two and three at a time, between a
rim of grey matter and fluid-filled ventricles. Fibres are a stick and an axially symmetric tensor;
noise is Rician. Written by `python -m shd_bids.testing.phantom`.

The truth lies in `derivatives/truth`: fibres as RAS vectors whose length is their volume fraction
(MRtrix3's peaks), tissue fractions (white matter, grey matter, fluid), the brain mask and the
responses (MRtrix3's zonal coefficients, a row for each shell). Where the scan has artefacts, they
lie there too: where the head was, the field in Hz, the coil's bias, the slices that dropped out,
and the same scan without artefacts (desc-clean with its noise, desc-noiseless without).
"""


def write_phantom_bids(phantom: Phantom | ArtefactPhantom, bids_dir: Path) -> Path:
    """Write the phantom as participant ``sub-01`` of a BIDS dataset.

    The dataset is built beside its place and moved there whole; an earlier phantom is replaced.

    Raises
    ------
    OutputError
        Something other than a phantom is already there.
    """
    with new_dataset(bids_dir) as build_dir:
        scan = phantom.scan if isinstance(phantom, ArtefactPhantom) else phantom
        _write_dataset(scan, build_dir)
        _write_truth(scan, build_dir)
        if isinstance(phantom, ArtefactPhantom):
            write_artefacts(phantom, build_dir)
    return bids_dir


def _write_dataset(phantom: Phantom, bids_dir: Path) -> None:
    dwi_stem, t1w_stem = bids_dir / "sub-01/dwi/sub-01_dwi", bids_dir / "sub-01/anat/sub-01_T1w"
    write_json(bids_dir / "dataset_description.json", describe_dataset(PHANTOM_NAME, "raw"))
    (bids_dir / "README").write_text(_README)
    (bids_dir / "participants.tsv").write_text("participant_id\tsex\tage\nsub-01\tn/a\tn/a\n")
    write_json(
        bids_dir / "participants.json",
        {
            "sex": {"Description": "A phantom has none", "Levels": {"n/a": "not applicable"}},
            "age": {"Description": "A phantom has none", "Units": "year"},
        },
    )
    write_image(phantom.dwi.round().astype(np.int16), phantom.affine, dwi_stem, DWI_SIDECAR)
    table = GradientTable(phantom.bvals, phantom.bvecs_ras)
    files = dwi_stem.with_suffix(".bval"), dwi_stem.with_suffix(".bvec")
    write_fsl_gradients(table, phantom.affine, *files)
    t1w = add_rician_noise(phantom.truth.tissue @ T1W, T1W_SIGMA, np.random.default_rng(0))
    write_image(t1w.round().astype(np.int16), phantom.affine, t1w_stem, T1W_SIDECAR)


def _write_truth(phantom: Phantom, bids_dir: Path) -> None:
    truth = phantom.truth
    stem = bids_dir / TRUTH_STEM
    derivative_dir = bids_dir / "derivatives/truth"
    generated = {"GeneratedBy": [{"Name": "shd-bids", "Version": __version__}]}
    description = describe_dataset(f"{PHANTOM_NAME}: truth", "derivative") | generated
    write_json(derivative_dir / "dataset_description.json", description)
    (derivative_dir / ".bidsignore").write_text("*_dwimap.*\n*_desc-truth_*\n*_dwi.bv*\n")
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
        sidecar: dict[str, Any] = {"Description": meaning}
        if file.name.endswith("mask.nii.gz"):
            sidecar |= {"Type": "Brain"}
        write_image(array, phantom.affine, image_stem, sidecar)
    for tissue, coefficients in phantom.responses.items():
        file = Path(f"{stem}_model-truth_param-response_label-{tissue}_dwimap.txt")
        np.savetxt(file, coefficients, fmt="%.8g", header="Shells: " + _shell_list(phantom))


def _shell_list(phantom: Phantom) -> str:
    return ",".join(f"{bval:g}" for bval in phantom.shell_bvals)


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
    parser.add_argument(
        "--artefacts", action="store_true", help="motion, distortion and all else; takes a minute"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    shape = tuple(options.shape)
    make = make_artefact_phantom if options.artefacts else make_phantom
    phantom = make(
        shape,
        options.voxel_size_mm,
        shells=SINGLE_SHELL if options.single_shell else MULTI_SHELL,
        snr=options.snr,
        seed=options.seed,
        affine=make_affine(shape, options.voxel_size_mm, options.orientation),
    )
    write_phantom_bids(phantom, options.bids_dir)
    scan = phantom.scan if isinstance(phantom, ArtefactPhantom) else phantom
    n_brain = int(scan.mask.sum())
    print(f"A phantom of {n_brain} brain voxels lies in {options.bids_dir}.")


if __name__ == "__main__":
    main()
