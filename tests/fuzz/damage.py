"""Ways in which users' files are broken or merely odd, and what the program must answer.

Each case changes the files of one participant, all of which start as copies of the same good one.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (10, 10, 8)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 2, 0, -9], [0, 0, 2, -7], [0, 0, 0, 1]])
N_DIRECTION = 12


@dataclass(frozen=True)
class Participant:
    """Files of one participant, with a short way to change each."""

    folder: Path

    @property
    def label(self) -> str:
        """Without ``sub-``."""
        return self.folder.name.removeprefix("sub-")

    def path(self, extension: str, *, kind: str = "dwi", entities: str = "") -> Path:
        """Give the path of a file, as in ``sub-X/dwi/sub-X_dwi.bval``."""
        folder = {"dwi": "dwi", "epi": "fmap", "T1w": "anat"}[kind]
        return self.folder / folder / f"{self.folder.name}{entities}_{kind}{extension}"

    @property
    def dwi(self) -> Path:
        """The image."""
        return self.path(".nii.gz")

    def raw(self) -> bytes:
        """Give the image's bytes, unpacked."""
        return gzip.decompress(self.dwi.read_bytes())

    def put_raw(self, content: bytes) -> None:
        """Write the image's bytes, packed."""
        self.dwi.write_bytes(gzip.compress(content, 1, mtime=0))

    def patch(self, **fields: object) -> None:
        """Overwrite fields of the image's header as they would lie in the file, unchecked."""
        content = self.raw()
        header = np.frombuffer(content[:348], nib.Nifti1Header.template_dtype, 1).copy()
        for name, value in fields.items():
            header[name][0] = value
        self.put_raw(header.tobytes() + content[348:])

    def change(self, alter: Callable[[np.ndarray], np.ndarray], kind: type = np.float32) -> None:
        """Write the image anew with other voxels."""
        data = alter(np.asarray(nib.load(self.dwi).dataobj).astype(np.float64))
        nib.Nifti1Image(data.astype(kind), AFFINE).to_filename(self.dwi)

    def text(self, extension: str, alter: Callable[[str], str]) -> None:
        """Change a text file."""
        file = self.path(extension)
        file.write_text(alter(file.read_text()))

    def sidecar(self, **fields: object) -> None:
        """Add fields to the sidecar."""
        file = self.path(".json")
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    @property
    def bvals(self) -> np.ndarray:
        """One a volume."""
        return np.loadtxt(self.path(".bval"))

    @property
    def bvecs(self) -> np.ndarray:
        """Three rows."""
        return np.loadtxt(self.path(".bvec"))

    def put_bvals(self, bvals: object, form: str = "%g") -> None:
        """Write b-values in one row."""
        np.savetxt(self.path(".bval"), np.atleast_2d(np.asarray(bvals)), fmt=form)

    def put_bvecs(self, bvecs: np.ndarray) -> None:
        """Write vectors as they are."""
        np.savetxt(self.path(".bvec"), bvecs, fmt="%.8f")

    def add(self, data: np.ndarray, fields: dict, *, kind: str, entities: str = "") -> None:
        """Add another image with its sidecar."""
        file = self.path(".nii.gz", kind=kind, entities=entities)
        file.parent.mkdir(exist_ok=True)
        nib.Nifti1Image(data.astype(np.int16), AFFINE).to_filename(file)
        self.path(".json", kind=kind, entities=entities).write_text(json.dumps(fields))

    def add_reverse(self, **fields: object) -> Path:
        """Add an image of opposite phase encoding that is meant for the series."""
        uri = f"bids::{self.folder.name}/dwi/{self.folder.name}_dwi.nii.gz"
        told = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "IntendedFor": uri}
        self.add(b0_image(), told | fields, kind="epi", entities="_dir-PA")
        return self.path(".nii.gz", kind="epi", entities="_dir-PA")

    def add_t1w(self) -> Path:
        """Add a structural image."""
        self.add(b0_image(), {}, kind="T1w")
        return self.path(".nii.gz", kind="T1w")

    def add_run(self, shape: tuple[int, int, int] = SHAPE) -> None:
        """Make the series the first of two runs."""
        content = {kind: self.path(kind).read_bytes() for kind in (".nii.gz", ".bval", ".bvec")}
        for kind, text in content.items():
            self.path(kind).rename(self.path(kind, entities="_run-1"))
            self.path(kind, entities="_run-2").write_bytes(text)
        data = np.full((*shape, len(content[".bval"].split())), 100.0)
        data[tuple(n // 2 for n in shape)] = 200
        self.path(".json").rename(self.path(".json", entities="_run-1"))
        self.add(data, {"PhaseEncodingDirection": "j"}, kind="dwi", entities="_run-2")


def series() -> np.ndarray:
    """Give voxels of a head-like ball whose signal falls with b."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    ball = 20 + 900 * (np.linalg.norm(at, axis=0) < 0.8)
    generator = np.random.default_rng(1)
    falls = np.array([1.0] + [0.5] * N_DIRECTION)
    noisy = ball[..., None] * falls + generator.normal(0, 5, (*SHAPE, 1 + N_DIRECTION))
    return np.round(noisy.clip(1)).astype(np.int16)


def b0_image() -> np.ndarray:
    """Give one volume of the same."""
    return series()[..., 0]


def write_participant(bids_dir: Path, label: str) -> Participant:
    """Write a good participant."""
    generator = np.random.default_rng(0)
    bvecs = generator.normal(size=(N_DIRECTION, 3))
    bvecs = np.vstack([np.zeros(3), bvecs / np.linalg.norm(bvecs, axis=1, keepdims=True)])
    one = Participant(bids_dir / f"sub-{label}")
    (one.folder / "dwi").mkdir(parents=True)
    nib.Nifti1Image(series(), AFFINE).to_filename(one.dwi)
    one.put_bvals([0] + [1000] * N_DIRECTION)
    one.put_bvecs(bvecs.T)
    fields = {"RepetitionTime": 3.0, "PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}
    one.path(".json").write_text(json.dumps(fields))
    return one


def write_dataset(bids_dir: Path, labels: list[str]) -> list[Participant]:
    """Write a dataset of good participants."""
    bids_dir.mkdir(parents=True)
    description = {"Name": "bad input", "BIDSVersion": "1.10.0"}
    (bids_dir / "dataset_description.json").write_text(json.dumps(description))
    return [write_participant(bids_dir, label) for label in labels]
