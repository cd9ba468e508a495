"""What many tests need: real data, small datasets, and the reasons to skip."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Find the programs that were installed beside Python, such as the validator."""
    own = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", "")])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a program or a card that is not there."""
    has_gpu = None
    for item in items:
        for marker in item.iter_markers("needs_tool"):
            if shutil.which(marker.args[0]) is None:
                item.add_marker(pytest.mark.skip(reason=f"{marker.args[0]} is not on PATH"))
        if item.get_closest_marker("gpu"):
            if has_gpu is None:
                import torch

                has_gpu = torch.cuda.is_available()
            if not has_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _give_logging_back() -> Iterator[None]:
    """Undo what a run in this process does to logging, which would hide messages from others.

    What it was before is not asked: fixtures of a whole module run before this one.
    """
    _reset_logging()
    yield
    _reset_logging()


def _reset_logging() -> None:
    for logger in map(logging.getLogger, ("shd_bids", "shd_workflows")):
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
        for handler in [*logger.handlers]:
            logger.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_phantom_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a BIDS dataset with known fibres, small enough for a run of a minute. Do not write."""
    from shd_bids.testing.phantom import make_phantom, write_phantom_bids

    phantom = make_phantom((18, 18, 14), 4.0, shells={0: 3, 1000: 16})
    return write_phantom_bids(phantom, tmp_path_factory.mktemp("phantom") / "bids")


def write_skeleton(
    bids_dir: Path,
    tree: dict[str, list[str]],
    *,
    shape: tuple[int, int, int] = (6, 6, 4),
    n_direction: int = 12,
) -> Path:
    """Write a BIDS tree of tiny images from their stems, such as `sub-01_ses-a`, by participant."""
    bids_dir.mkdir(exist_ok=True, parents=True)
    description = {"Name": "skeleton", "BIDSVersion": "1.10.0"}
    (bids_dir / "dataset_description.json").write_text(json.dumps(description))
    generator = np.random.default_rng(0)
    for label, stems in tree.items():
        (bids_dir / f"sub-{label}").mkdir(exist_ok=True)
        for stem in stems:
            session = [part for part in stem.split("_") if part.startswith("ses-")]
            folder = bids_dir.joinpath(f"sub-{label}", *session, "dwi")
            folder.mkdir(parents=True, exist_ok=True)
            bvecs = generator.normal(size=(n_direction, 3))
            bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
            bvecs = np.vstack([np.zeros((1, 3)), bvecs])
            bvals = np.array([0] + [1000] * n_direction)
            data = generator.integers(50, 1000, size=(*shape, len(bvals)), dtype=np.int16)
            image = nib.Nifti1Image(data, np.diag([-2.0, 2.0, 2.0, 1.0]))
            image.to_filename(folder / f"{stem}_dwi.nii.gz")
            np.savetxt(folder / f"{stem}_dwi.bval", bvals[None], fmt="%d")
            np.savetxt(folder / f"{stem}_dwi.bvec", bvecs.T, fmt="%.6f")
            (folder / f"{stem}_dwi.json").write_text('{"RepetitionTime": 3.0}')
    return bids_dir


@pytest.fixture(scope="session")
def skeleton_writer() -> Callable[..., Path]:
    """Write small BIDS trees wherever a fixture of a wider scope wants one."""
    return write_skeleton


@pytest.fixture
def make_skeleton(tmp_path: Path) -> Callable[..., Path]:
    """Write small BIDS trees, as `write_skeleton` does."""
    return partial(write_skeleton, tmp_path / "bids")
