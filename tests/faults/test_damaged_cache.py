"""What a lost power supply leaves in the work directory is made again, never taken as good."""

import json
import os

import pytest
from faults.launch import finish, start
from faults.quick import quick_call
from faults.trees import assert_same_results
from shd_workflows.seals import discard_damaged, seal
from shd_workflows.usage import StepUse
from shd_workflows.workdir import STAMP_NAME, prepare_work_dir, recall_steps, remember_step

from shd_bids.errors import WorkDirError


@pytest.fixture
def step(tmp_path):
    """Leave what a step of nipype's leaves."""
    folder = tmp_path / "denoise"
    folder.mkdir()
    (folder / "dwi.nii.gz").write_bytes(os.urandom(10_000))
    (folder / "result_denoise.pklz").write_bytes(os.urandom(300))
    (folder / "_0xabc.json").write_text("{}")
    (folder / "_inputs.pklz").write_bytes(b"nipype's own")
    seal(folder)
    return folder


def _is_kept(step) -> bool:
    discard_damaged(step, "denoise")
    return (step / "_0xabc.json").exists()


def test_a_step_that_is_as_it_was_left_is_kept(step):
    (step / "_inputs.pklz").write_bytes(b"nipype writes this anew")
    assert _is_kept(step)


def _flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("name", ["dwi.nii.gz", "result_denoise.pklz", "_sealed.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: bytes(len(content)),
        _flip,
        None,
    ],
    ids=["empty", "truncated", "zeros", "one bit", "gone"],
)
def test_a_step_with_damaged_files_is_run_again(step, name, damage, caplog):
    file = step / name
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    assert not _is_kept(step)
    assert not (step / "result_denoise.pklz").exists()
    assert "is run again" in caplog.text


def test_of_a_step_that_never_ended_nothing_is_said(tmp_path, caplog):
    (tmp_path / "_0xabc_unfinished.json").write_text("{}")
    discard_damaged(tmp_path, "denoise")
    discard_damaged(tmp_path / "nowhere", "denoise")
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"[]", b"null", b'{"version"', b"\xff\xfe"])
def test_a_damaged_stamp_of_the_work_directory_says_what_to_do(tmp_path, content):
    (tmp_path / STAMP_NAME).write_bytes(content)
    with pytest.raises(WorkDirError, match=r"is damaged.*--clean-workdir"):
        prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=False)
    prepare_work_dir(tmp_path, bids_dir=tmp_path, clean=True)


@pytest.mark.parametrize("content", [b"\0" * 40, b"[1]\n\n{}\nnull\n", b"\xff\xfe\n"])
def test_of_damaged_times_of_steps_the_rest_is_known(tmp_path, content):
    (tmp_path / "steps.jsonl").write_bytes(content + b"\n")
    remember_step(tmp_path, "denoise", StepUse(3.0))
    assert recall_steps(tmp_path)["denoise"].seconds == 3.0


@pytest.mark.slow
def test_a_run_over_a_damaged_work_directory_gives_the_same(tmp_path, tiny_phantom_dir):
    out, work = tmp_path / "out", tmp_path / "w"
    call = quick_call(tiny_phantom_dir, out, work)
    assert finish(start(*call)).code == 0
    out.rename(tmp_path / "expected")
    steps = {file.parent.name: file.parent for file in work.rglob("result_*.pklz")}
    (steps["merge_runs"] / "result_merge_runs.pklz").write_bytes(b"")
    unrung = next(steps["unring_dwi"].glob("*.nii*"))
    unrung.write_bytes(unrung.read_bytes()[:1000])
    next(steps["estimate_mask"].glob("*.nii*")).unlink()
    response = next(steps["estimate_response"].glob("*.txt"))
    response.write_text(response.read_text().replace("1", "2"))
    for file in steps["export_dwi"].glob("_0x*.json"):
        file.write_bytes(b"\0" * 10)
    quality = steps["measure_quality"] / "result_measure_quality.pklz"
    quality.write_bytes(bytes(quality.stat().st_size))
    run = finish(start(*call))
    assert run.code == 0, run.text
    assert "Traceback" not in run.text
    for name in ("merge_runs", "unring_dwi", "estimate_mask", "estimate_response"):
        assert f"{name}: started" in run.text
    assert run.text.count("The step is run again") >= 4
    assert_same_results(out, tmp_path / "expected", ignore=r"(^|/)log/")
    run = finish(start(*call))
    assert "started" not in run.text  # it is whole again
    assert json.loads((work / STAMP_NAME).read_text())
