"""A study of many participants, each with the files of a whole run, all of them tiny.

``python -m shd_bids.testing.study DIR --participants 1000`` writes ``DIR/bids`` and ``DIR/out``.
Names, tables and sidecars are those of a real run; images have 6 x 6 x 6 voxels and are the same
for everybody. Some participants failed, were cut off or were never run, and some stand apart:
`fate_of` says who.
"""

import argparse
import gzip
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from shd_bids import __version__
from shd_bids.bids.description import dataset_description
from shd_bids.bids.names import derivative_path
from shd_bids.config import DeconvConfig, ExecutionConfig, RunConfig, TrackingConfig
from shd_bids.config.file import config_text

#: By acquisition: volumes of each shell.
ACQUISITIONS = {
    "multi": {0: 6, 1000: 30, 2500: 60},
    "single": {0: 4, 1000: 32},
}
MODELS = ("shdtv", "csd")
#: What a crash says.
CRASH = "ResponseError: Only 3 voxels look like single-fibre white matter; expected 30 at least."

_FATES = {3: "failed", 5: "moved", 7: "incomplete", 9: "not processed", 15: "noisy", 25: "refused"}
_RUN = "20260101-120000_0b1f0c1e-0000-4000-8000-000000000000"
_MAPS = ("peaks", "rmse", "afd", "nufo", "gfa", "dec")


def fate_of(number: int) -> str:
    """Say what became of a participant: the same for every fiftieth.

    Examples
    --------
    >>> fate_of(1), fate_of(3), fate_of(55)
    ('finished', 'failed', 'moved')
    """
    return _FATES.get(number % 50, "finished")


def write_study(
    root: Path,
    n_participant: int,
    *,
    acquisitions: Sequence[str] = ("multi",),
    sessions: Sequence[str] = (),
    random_seed: int = 0,
) -> Path:
    """Write a simulated study.

    Parameters
    ----------
    root
        Gets the folders ``bids`` and ``out``.
    n_participant
        How many.
    acquisitions
        Keys of `ACQUISITIONS`; their labels stand in names where there are several.
    sessions
        Labels; none by default.
    random_seed
        Of all measures.

    Returns
    -------
    Path
        The output dataset.
    """
    bids_dir, output_dir = root / "bids", root / "out"
    raw = {"Name": "simulated study", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    _write(bids_dir / "dataset_description.json", raw)
    derived = dataset_description(
        version=__version__, links={"raw": bids_dir}, input_description=raw
    )
    _write(output_dir / "dataset_description.json", derived)
    config = RunConfig(
        ExecutionConfig(bids_dir, output_dir, work_dir=root / "work"),
        deconv=DeconvConfig(fod_models=("shd-tv", "csd"), shd_preset="fast", device="cpu"),
        tracking=TrackingConfig(n_streamlines=1000),
    )
    settings, shared = config_text(config), {a: _shared_files(a) for a in acquisitions}
    generator = np.random.default_rng(random_seed)
    for number in range(1, n_participant + 1):
        label, fate = f"{number:04d}", fate_of(number)
        (bids_dir / f"sub-{label}" / "dwi").mkdir(parents=True, exist_ok=True)
        if fate == "not processed":
            continue
        log_dir = output_dir / f"sub-{label}" / "log" / _RUN
        _write(log_dir / "shd-bids.toml", settings)
        if fate in ("failed", "refused"):
            text = f"Node: shd_bids_wf.sub_{label}_wf.step\n\nTraceback:\n  File 'x'\n{CRASH}\n"
            _write(log_dir / "crash-20260101-120500-step.txt", text)
        for entities in [] if fate == "refused" else _series_of(label, acquisitions, sessions):
            _write_series(output_dir, entities, acquisitions, shared, fate, generator)
        if fate != "incomplete":
            _write(output_dir / f"sub-{label}.html", f"<!DOCTYPE html><title>{label}</title>")
    return output_dir


def _series_of(
    label: str, acquisitions: Sequence[str], sessions: Sequence[str]
) -> Iterator[dict[str, str]]:
    many = len(acquisitions) > 1
    for session, acquisition in itertools.product(sessions or [""], acquisitions):
        entities = {"sub": label} | ({"ses": session} if session else {})
        yield entities | ({"acq": acquisition} if many else {})


def _write_series(
    output_dir: Path,
    entities: Mapping[str, str],
    acquisitions: Sequence[str],
    shared: Mapping[str, Mapping[str, bytes]],
    fate: str,
    generator: np.random.Generator,
) -> None:
    acquisition = entities.get("acq", acquisitions[0])
    shells, common = ACQUISITIONS[acquisition], shared[acquisition]

    def put(content: Any, suffix: str, extension: str, **labels: str) -> None:
        path = derivative_path(entities, suffix=suffix, extension=extension, **labels)
        _write(output_dir / path, content)

    here = {"space": "orig"}
    for extension in (".nii.gz", ".bval", ".bvec"):
        put(common[extension], "dwi", extension, desc="preproc", **here)
    put(common["volume"], "dwiref", ".nii.gz", **here)
    put(common["mask"], "mask", ".nii.gz", desc="brain", **here)
    put(common["confounds"], "timeseries", ".tsv", desc="confounds")
    put(_row(_quality(shells, fate, generator)), "qc", ".tsv", desc="image")
    put({"Judgements": {"mean_fd": {"Verdict": "good"}}}, "qc", ".json", desc="image")
    if fate == "failed":
        return
    gain = float(generator.lognormal(0, 0.1))
    for tissue, rows in _responses(shells, gain, generator).items():
        labels = {"param": "response", "label": tissue, **here}
        lines = [f"# Shells: {','.join(map(str, shells))}"]
        lines += [" ".join(f"{value:.8g}" for value in row) for row in rows]
        put("\n".join(lines) + "\n", "dwimap", ".txt", **labels)
        n_voxel = int(generator.integers(200, 400))
        put({"Settings": {"NumberOfVoxels": n_voxel}}, "dwimap", ".json", **labels)
    for model in MODELS:
        own = {"model": model, **here}
        for tissue in ("WM", "GM", "CSF"):
            put(common["fod"], "dwimap", ".nii.gz", param="fod", label=tissue, **own)
            put(common["volume"], "dwimap", ".nii.gz", param="fraction", label=tissue, **own)
        for name in _MAPS:
            put(common["volume"], "dwimap", ".nii.gz", param=name, **own)
        put(_row(_model_quality(model, fate, generator)), "qc", ".tsv", desc="model", **own)
        if model == MODELS[0]:
            put(b"", "model", ".safetensors", desc="weights", **own)
            put({"Settings": {"seconds": 400.0}}, "model", ".json", desc="weights", **own)
    if fate == "incomplete":
        return
    own = {"model": MODELS[0], "track": "probabilistic", **here}
    put(b"mrtrix tracks\n", "tractogram", ".tck", **own)
    put({"StreamlineCount": 1000}, "tractogram", ".json", **own)
    put(common["volume"], "dwimap", ".nii.gz", param="tdi", **own)


def _quality(
    shells: Mapping[int, int], fate: str, generator: np.random.Generator
) -> dict[str, float]:
    """Draw measures as `image_qc` has them."""
    draw = generator.normal
    noise = 2.5 if fate == "noisy" else 1.0
    motion = 6.0 if fate == "moved" else 1.0
    mean_fd = motion * float(np.clip(draw(0.25, 0.05), 0.1, 0.4))
    raw_corr = float(np.clip(draw(0.75, 0.02), 0.6, 0.9)) - 0.25 * (noise - 1)
    bad_slices = int(generator.binomial(2, 0.3)) + (180 if fate == "moved" else 0)
    return {
        **{f"raw_dimension_{axis}": 6.0 for axis in "xyz"},
        **{f"raw_voxel_size_{axis}": 2.0 for axis in "xyz"},
        "raw_max_b": max(shells),
        "raw_num_directions": sum(count for bval, count in shells.items() if bval),
        **{f"num_volumes_b{bval}": count for bval, count in shells.items()},
        "raw_neighbor_corr": raw_corr,
        "noise_sigma": noise * draw(20, 1),
        "snr_b0": draw(25, 1.5) / noise,
        "preproc_neighbor_corr": raw_corr + draw(0.1, 0.01),
        "mask_volume_ml": draw(1400, 120),
        "tensor_residual": noise * draw(0.04, 0.003),
        **{f"cnr_b{bval}": draw(1.5, 0.1) / noise for bval in shells if bval},
        "gradient_check": 1,
        "gradient_coherence": draw(0.85, 0.01),
        "mean_fd": mean_fd,
        "max_fd": 4 * mean_fd,
        "max_translation": 3 * mean_fd,
        "max_rotation": 2 * mean_fd,
        "raw_num_bad_slices": bad_slices,
        "bad_slices_percent": bad_slices / 15,
        "t1_dice_distance": float(np.clip(draw(0.05, 0.01), 0, 1)),
    }


def _model_quality(model: str, fate: str, generator: np.random.Generator) -> dict[str, float]:
    draw, noise = generator.normal, 2.5 if fate == "noisy" else 1.0
    fractions = np.array([0.5, 0.35, 0.15]) + draw(0, 0.01, size=3)
    measures = {
        "residual_median": noise * draw(4, 0.2),
        "residual_p95": noise * draw(8, 0.4),
        **dict(
            zip(
                ("fraction_WM", "fraction_GM", "fraction_CSF"),
                fractions / fractions.sum(),
                strict=True,
            )
        ),
        "mean_afd": draw(0.6, 0.02),
        "mean_gfa": draw(0.5, 0.02),
        "mean_nufo": draw(1.7, 0.05),
    }
    if model == MODELS[0]:
        measures |= {"training_loss": noise * draw(0.002, 1e-4), "loss_over_start": draw(0.7, 0.02)}
    return measures | {"fit_seconds": draw(400, 20)}


def _responses(
    shells: Mapping[int, int], gain: float, generator: np.random.Generator
) -> dict[str, list[list[float]]]:
    """Draw zonal coefficients of the usual shapes; b=0 of white matter is about 1000."""
    zonal = {0: (3545, 0, 0), 1000: (2060, -850, 170), 2500: (1240, -850, 400)}
    isotropic = {"GM": (4380, 0.79e-3), "CSF": (10780, 2.9e-3)}
    own = gain * generator.normal(1, 0.01, size=3)
    tissues = ["GM", "CSF"] if len(shells) > 2 else ["CSF"]
    shapes = {bval: generator.normal(1, 0.02 if bval else 0.0, size=3) for bval in shells}
    white = [(own[0] * shapes[bval] * zonal[bval]).tolist() for bval in shells]
    return {"WM": white} | {
        tissue: [
            [own[1 + place] * isotropic[tissue][0] * np.exp(-bval * isotropic[tissue][1])]
            for bval in shells
        ]
        for place, tissue in enumerate(tissues)
    }


def _shared_files(acquisition: str) -> dict[str, bytes]:
    """Make the files that are the same for everybody."""
    shells = ACQUISITIONS[acquisition]
    generator = np.random.default_rng(0)
    bvals = np.repeat(list(shells), list(shells.values()))
    bvecs = generator.normal(size=(len(bvals), 3))
    bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvecs[bvals == 0] = 0
    signal = 1000 * np.exp(-bvals * (0.3e-3 + 1.4e-3 * bvecs[:, 0] ** 2))  # one fibre along x
    dwi = np.broadcast_to(signal, (6, 6, 6, len(bvals))) + generator.normal(
        0, 20, (6, 6, 6, len(bvals))
    )
    columns = "bval\tframewise_displacement\n"
    return {
        ".nii.gz": _image(dwi.clip(1).astype(np.int16)),
        ".bval": (" ".join(map(str, bvals)) + "\n").encode(),
        ".bvec": "".join(" ".join(f"{v:.6f}" for v in axis) + "\n" for axis in bvecs.T).encode(),
        "volume": _image(np.ones((6, 6, 6), dtype=np.float32)),
        "fod": _image(np.ones((6, 6, 6, 45), dtype=np.float32)),
        "mask": _image(np.ones((6, 6, 6), dtype=np.uint8)),
        "confounds": (columns + "".join(f"{bval}\t0.2\n" for bval in bvals)).encode(),
    }


def _image(data: np.ndarray) -> bytes:
    image = nib.Nifti1Image(data, np.diag([-2.0, 2.0, 2.0, 1.0]))
    return gzip.compress(image.to_bytes(), mtime=0)


def _row(measures: Mapping[str, float]) -> str:
    values = "\t".join(f"{value:.6g}" for value in measures.values())
    return "\t".join(measures) + f"\n{values}\n"


def _write(file: Path, content: Any) -> None:
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    try:
        file.write_bytes(content)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def main(argv: Sequence[str] | None = None) -> None:
    """Write a study and say where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m shd_bids.testing.study", description="Write a simulated study."
    )
    parser.add_argument("folder", type=Path, help="gets bids/ and out/")
    parser.add_argument("--participants", type=int, default=10)
    parser.add_argument("--acquisitions", nargs="+", choices=list(ACQUISITIONS), default=["multi"])
    parser.add_argument("--sessions", nargs="*", default=[], metavar="LABEL")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    output_dir = write_study(
        options.folder.absolute(),
        options.participants,
        acquisitions=options.acquisitions,
        sessions=options.sessions,
        random_seed=options.seed,
    )
    print(f"{options.participants} participants: {output_dir}")


if __name__ == "__main__":
    main()
