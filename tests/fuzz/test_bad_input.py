"""Every kind of bad input, as its user meets it: what is said, what else runs, what is left."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fuzz.cases import EARLY, FINE, LATE
from fuzz.damage import AFFINE, Participant, series, write_dataset
from shd_workflows.plan import plan_series
from shd_workflows.sources import open_source

from shd_bids.cli.parser import parse_arguments
from shd_bids.dwi.gradients import read_fsl_gradients
from shd_bids.interfaces.preproc import MergeRuns

QUICK = (
    *("--denoise-method", "none", "--unringing-method", "none", "--hmc", "none"),
    *("--bias-correction", "none", "--mask-method", "none", "--nprocs", "1", "--omp-nthreads", "1"),
)
_COLUMN = 110  # letters of a message in the table that is printed


@dataclass(frozen=True)
class Run:
    """What one call of the program said and left behind."""

    code: int
    screen: str
    out: Path

    def said(self, label: str) -> str:
        """Give all that was said of a participant at the end; a message may hold line breaks."""
        found = re.findall(rf"^  sub-{label}: (.*?)(?=^  sub-|^shd-bids)", self.screen, re.M | re.S)
        return "\n".join(found)


def _run(bids_dir: Path, out: Path, *flags: str) -> Run:
    words = [bids_dir, out, "participant", "-w", out.with_name("work"), *flags]
    command = [sys.executable, "-m", "shd_bids.cli.run", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    return Run(done.returncode, done.stdout + done.stderr, out)


def _write(bids_dir: Path, names: list[str]) -> None:
    changes = {name: case[0] for name, case in (EARLY | LATE).items()} | FINE
    for one in write_dataset(bids_dir, ["good", *names]):
        if one.label != "good":
            changes[one.label](one)


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Run:
    """Plan all that stops before anything runs, and beside it what is odd but sound."""
    root = tmp_path_factory.mktemp("planned")
    _write(root / "bids", [*EARLY, *FINE])
    run = _run(root / "bids", root / "out", "--level", "preproc", "--boilerplate-only", *QUICK)
    for name in EARLY:
        print(f"| {name} | {' '.join(run.said(name).split())[:_COLUMN]} | {run.code} |")
    return run


@pytest.mark.parametrize("name", EARLY)
def test_what_cannot_be_processed_is_refused_before_anything_runs(planned, name):
    assert re.search(EARLY[name][1], planned.said(name), re.S), planned.said(name) or planned.screen


def test_others_go_on_beside_those_that_stop(planned):
    n_fine = len(FINE) + 1
    wanted = f"shd-bids finished: {n_fine} of {n_fine + len(EARLY)} participant(s); failed: "
    (last,) = [line for line in planned.screen.splitlines() if line.startswith(wanted)]
    assert set(re.findall(r"sub-(\w+)", last)) == set(EARLY)
    assert planned.code == 1


def test_no_user_sees_a_traceback(planned):
    assert "Traceback" not in planned.screen


def _first_step(one: Participant, folder: Path):
    """Plan a participant and run the step that reads its voxels, in this process."""
    words = [str(one.folder.parent), str(folder / "out"), "participant", *QUICK]
    config = parse_arguments(words)
    (found,) = open_source(config, [one.label]).series_of(one.label, config, {})
    plan = plan_series(found, config)
    folder.mkdir(exist_ok=True)
    merge = MergeRuns(
        dwi_files=[str(run.dwi_file) for run in found.runs],
        bval_files=[str(run.bval_file) for run in found.runs],
        bvec_files=[str(run.bvec_file) for run in found.runs],
        phases=[run.phase for run in found.runs],
        b0_threshold=100.0,
    )
    return plan, merge.run(cwd=str(folder)).outputs


@pytest.mark.parametrize("name", LATE)
def test_bad_voxels_are_refused_by_the_first_step(name, tmp_path):
    change, words = LATE[name]
    (one,) = write_dataset(tmp_path / "bids", [name])
    change(one)
    with pytest.raises(Exception, match=words) as caught:
        _first_step(one, tmp_path / "step")
    assert type(caught.value).__module__ == "shd_bids.errors"
    assert not list((tmp_path / "step").glob("dwi*"))


@pytest.mark.parametrize("name", FINE)
def test_what_is_odd_but_sound_gives_what_the_good_one_gives(name, tmp_path):
    good, one = write_dataset(tmp_path / "bids", ["good", name])
    bvecs = good.bvecs
    FINE[name](one)
    plan, outputs = _first_step(one, tmp_path / "step")
    assert plan.shape == series().shape
    assert plan.shell_bvals == (0.0, 1000.0)
    image = nib.load(outputs.dwi_file)
    np.testing.assert_allclose(np.asarray(image.dataobj), series(), atol=1e-4)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-4)
    table = read_fsl_gradients(good.path(".bval"), good.path(".bvec"), AFFINE)
    got = np.loadtxt(outputs.gradients_file)
    np.testing.assert_allclose(got[1:, :3], table.bvecs_ras[1:], atol=1e-6)
    np.testing.assert_allclose(got[:, 3], table.bvals, atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(bvecs[:, 1:], axis=0), 1, atol=1e-6)


# that which is odd in its voxels, its gradients and its sidecar
_ODD = ("bigendian", "scaled", "bvectransposed", "bvecnanatb0", "sidecarstrange")


@pytest.fixture(scope="module")
def processed(tmp_path_factory) -> Run:
    """Process all that is bad, and beside it what is fine."""
    root = tmp_path_factory.mktemp("processed")
    _write(root / "bids", [*EARLY, *LATE, *_ODD])
    run = _run(root / "bids", root / "out", "--level", "preproc", *QUICK)
    for name in LATE:
        print(f"| {name} | {' '.join(run.said(name).split())[:_COLUMN]} | {run.code} |")
    return run


@pytest.mark.slow
def test_beside_all_that_is_bad_the_good_is_processed_and_the_odd_comes_out_like_it(processed):
    assert processed.code == 1
    reference = None
    for name in ["good", *_ODD]:
        stem = f"{processed.out}/sub-{name}/dwi/sub-{name}_space-orig_desc-preproc_dwi"
        data = np.asarray(nib.load(f"{stem}.nii.gz").dataobj)
        reference = data if reference is None else reference
        np.testing.assert_allclose(data, reference, atol=1e-3, err_msg=name)
        json.loads(Path(f"{stem}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", EARLY | LATE)
def test_what_is_bad_is_told_on_screen_and_page_and_leaves_nothing_half_written(processed, name):
    assert "Traceback" not in processed.screen
    words = (EARLY | LATE)[name][1]
    assert re.search(words, processed.said(name), re.S), processed.said(name)
    assert (processed.out / f"sub-{name}.html").is_file()
    assert not list((processed.out / f"sub-{name}").glob("*/*desc-preproc*"))
