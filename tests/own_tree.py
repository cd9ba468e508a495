"""A dataset as an earlier run of shd-bids leaves it, of images a few voxels wide."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from shd_bids.bids.files import gzip_trailer
from shd_bids.bids.sidecars import fodf_sidecar, model_sidecar, response_sidecar
from shd_bids.deconvolution.loss_weights import LossWeights
from shd_bids.deconvolution.presets import get_preset
from shd_bids.response.io import Response, write_response

SHAPE, BVALS = (6, 6, 4), np.array([0.0, 1000.0])
RESPONSES = {
    "WM": np.array([[3000.0, 0, 0, 0, 0], [1500.0, -600.0, 90.0, -8.0, 1.0]]),
    "CSF": np.array([[9000.0], [450.0]]),
}
MAPS = {"peaks": 9, "rmse": 1, "afd": 1, "nufo": 1, "gfa": 1, "dec": 3}


def write_own_tree(
    dataset_dir: Path, models: tuple[str, ...] = ("csd",), *, label: str = "01"
) -> Path:
    """Write one participant's results at `--level fod`, with a tissue map and figures."""
    stem = dataset_dir / f"sub-{label}/dwi/sub-{label}"
    for folder in ("dwi", "anat", "figures"):
        (dataset_dir / f"sub-{label}" / folder).mkdir(parents=True)
    write_fields(
        dataset_dir / "dataset_description.json",
        Name="shd-bids",
        BIDSVersion="1.10.0",
        DatasetType="derivative",
        GeneratedBy=[{"Name": "shd-bids", "Version": "0.1.0"}],
        DatasetLinks={"raw": "file:///raw"},
    )
    _write_preproc(stem)
    _write_responses(stem)
    for model in models:
        _write_model(stem, model)
    anat = dataset_dir / f"sub-{label}/anat/sub-{label}"
    write_image(f"{anat}_space-orig_probseg", 3, Description="Tissues.", Methods="Tissue text.")
    write_image(f"{anat}_space-orig_desc-T1w_mask", 1)
    figures = dataset_dir / f"sub-{label}/figures/sub-{label}"
    for what in ("motion", "response", "fodf", "loss", "tracts"):
        Path(f"{figures}_desc-{what}_dwi.svg").write_text(
            "<svg xmlns='http://www.w3.org/2000/svg'/>"
        )
    Path(f"{figures}_desc-about_dwi.html").write_text("<p>about</p>")
    return dataset_dir


def write_image(stem: str, n_volume: int, **fields: Any) -> Path:
    """Write ones, with a sidecar where there are fields."""
    shape = SHAPE if n_volume == 1 else (*SHAPE, n_volume)
    file = Path(f"{stem}.nii.gz")
    nib.Nifti1Image(np.ones(shape, np.float32), np.diag([2.0, 2.0, 2.0, 1.0])).to_filename(file)
    if fields:
        write_fields(Path(f"{stem}.json"), **fields)
    return file


def write_fields(file: Path, **fields: Any) -> None:
    """Write JSON."""
    file.write_text(json.dumps(fields, indent=2))


def change_fields(file: Path, **fields: Any) -> None:
    """Change some fields of a sidecar."""
    write_fields(file, **(json.loads(file.read_text()) | fields))


def _write_preproc(stem: Path) -> None:
    generator = np.random.default_rng(0)
    data = generator.integers(50, 1000, size=(*SHAPE, 13)).astype(np.float32)
    dwi = f"{stem}_space-orig_desc-preproc_dwi"
    nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0])).to_filename(f"{dwi}.nii.gz")
    bvecs = np.vstack([np.zeros((1, 3)), generator.normal(size=(12, 3))])
    bvecs[1:] /= np.linalg.norm(bvecs[1:], axis=1, keepdims=True)
    np.savetxt(f"{dwi}.bval", np.repeat(BVALS, (1, 12))[None], fmt="%d")
    np.savetxt(f"{dwi}.bvec", bvecs.T, fmt="%.6f")
    write_fields(Path(f"{dwi}.json"), Methods="### Preprocessing\n\nPrepared by hand [@csd].")
    mask = np.ones(SHAPE, np.uint8)
    mask[0] = 0
    nib.Nifti1Image(mask, np.diag([2.0, 2.0, 2.0, 1.0])).to_filename(
        f"{stem}_space-orig_desc-brain_mask.nii.gz"
    )
    write_image(f"{stem}_space-orig_dwiref", 1)
    Path(f"{stem}_desc-image_qc.tsv").write_text("mean_fd\n0.1\n")
    Path(f"{stem}_desc-confounds_timeseries.tsv").write_text("bval\n" + "0\n" * 13)


def _checksums(stem: Path) -> dict[str, str]:
    files = {"Series": "desc-preproc_dwi", "Mask": "desc-brain_mask"}
    return {
        what: gzip_trailer(Path(f"{stem}_space-orig_{name}.nii.gz"))[0]
        for what, name in files.items()
    }


def _write_responses(stem: Path) -> None:
    for tissue, rows in RESPONSES.items():
        file = Path(f"{stem}_space-orig_param-response_label-{tissue}_dwimap")
        write_response(Response(tissue, BVALS, rows), file.with_suffix(".txt"))
        fields = response_sidecar(
            tissue=tissue,
            method="estimated",
            bvals=BVALS.tolist(),
            coefficients=rows.tolist(),
            sources=[],
            version="0.1.0",
            n_voxel=100,
        )
        told = {"Methods": "### Fibre orientations\n\nResponses by hand."}
        write_fields(file.with_suffix(".json"), **fields, **told, SourceChecksums=_checksums(stem))


def _settings(model: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"model": model, "lmax": 8, "tissues": ["WM", "CSF"], "seconds": 7.0}
    if model == "csd":
        return settings | {"tissues": ["WM"]}
    return settings | {
        "preset": "fast",
        "network": asdict(replace(get_preset("fast"), steps=20)),
        "loss_weights": asdict(LossWeights.for_model(model)),
        "precision": "float32",
        "random_seed": 0,
        "weights_file": None,
    }


def _write_model(stem: Path, model: str) -> None:
    named, settings = f"{stem}_space-orig_model-{model.replace('-', '')}", _settings(model)
    said = {"sources": [], "version": "0.1.0", "settings": settings}
    for tissue in settings["tissues"]:
        fields = fodf_sidecar(
            model=model.replace("-", ""),
            tissue=tissue,
            lmax=8 if tissue == "WM" else 0,
            response_bvals=BVALS.tolist(),
            response_coefficients=RESPONSES[tissue].tolist(),
            **said,
        )
        write_image(
            f"{named}_param-fod_label-{tissue}_dwimap",
            45 if tissue == "WM" else 1,
            **fields,
            SourceChecksums=_checksums(stem),
            Methods=f"{model} by hand.",
        )
        write_image(f"{named}_param-fraction_label-{tissue}_dwimap", 1)
    for param, n_volume in MAPS.items():
        write_image(f"{named}_param-{param}_dwimap", n_volume)
    if model != "csd":
        Path(f"{named}_desc-weights_model.safetensors").write_bytes(b"weights")
        training = {"step": [10, 20], "seconds": [1.0, 2.0], "loss": {"total": [2.0, 1.0]}}
        fields = model_sidecar(
            model=model.replace("-", ""),
            lmax=8,
            tissues=["WM", "CSF"],
            shell_bvals=BVALS.tolist(),
            training=training,
            **said,
        )
        write_fields(Path(f"{named}_desc-weights_model.json"), **fields)
