"""Whatever is killed, the run says so, the rest goes on, and the same command makes good."""

import contextlib
import os
import random
import re
import signal

import pytest
from faults.injector import Killer
from faults.launch import (
    assert_nothing_runs,
    finish,
    kill,
    processes_of,
    start,
    wait_for_line,
)
from faults.trees import assert_same_results, assert_whole, files_of
from workflows.study_tree import write_dataset, write_participant

pytestmark = pytest.mark.slow
#: What takes time or memory on real data.
HEAVY = (
    *("denoise_dwi", "unring_dwi", "correct_motion", "resample_dwi", "correct_bias"),
    *("estimate_mask", "estimate_response", "fit_fodf", "fit_fodf fit", "find_peaks"),
    *("track_streamlines", "map_streamlines", "segment_tissue", "register_to_dwi"),
    *("plot_fodf", "plot_tracts", "plot_scene", "plot_mask"),
)
PREPROC = ("--level", "preproc", "--unringing-method", "none", "--omp-nthreads", 1)


def test_every_node_may_be_killed_once_and_the_same_command_finishes(
    undisturbed, tmp_path, record_fault
):
    """One run a level of the graph: all that can start is killed, and what needs it not run."""
    killer, out = Killer(tmp_path / "work", random.Random(0)), tmp_path / "out"
    call = undisturbed.call(tmp_path)
    for _ in range(60):
        run = start(*call)
        struck = killer.watch(run)
        finish(run)
        assert_nothing_runs(run)
        if not struck:
            break
        assert run.code == 1, run.text
        assert run.last_line == ("shd-bids finished: 0 of 1 participant(s); failed: sub-01."), (
            run.text
        )
        assert re.search(r"  sub-01: .*killed by SIGKILL.*memory", run.text)
        assert "Traceback" not in run.text
        assert "killed by SIGKILL" in (out / "sub-01.html").read_text()
        assert_whole(out)
        record_fault(f"SIGKILL of {', '.join(sorted(map(_node, struck)))}", run, run)
    assert run.code == 0, run.text
    assert not set(HEAVY) - {_node(key) for key in killer.killed}
    assert_same_results(out, undisturbed.out)
    record_fault(f"{len(killer.killed)} kills", run, run, "nothing lost")


def _node(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def test_a_run_killed_at_random_ends_as_one_that_was_not(undisturbed, tmp_path, record_fault):
    chance, out = random.Random(1), tmp_path / "out"
    call = undisturbed.call(tmp_path)
    for _ in range(5):
        run = start(*call)
        with contextlib.suppress(Exception):
            run.process.wait(timeout=chance.uniform(0.05, 0.5) * undisturbed.seconds)
        if run.process.poll() is not None:
            break  # done already
        kill(run)
        finish(run)
        assert_nothing_runs(run)
        assert_whole(out, leftovers=False)
    again = finish(start(*call))
    assert again.code == 0, again.text
    assert_whole(out)
    assert_same_results(out, undisturbed.out)
    record_fault("SIGKILL of the run, five times", run, again, "nothing lost")


@pytest.mark.parametrize("stage", ["forkserver", "resource_tracker"])
def test_what_starts_the_processes_may_be_killed_and_the_run_finishes(
    make_skeleton, tmp_path, stage
):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    run = start(bids_dir, tmp_path / "out", "participant", "-w", tmp_path / "work", *PREPROC)
    wait_for_line(run, "denoise_dwi: started")
    victims = [
        pid
        for pid, words in processes_of(run).items()
        if f"multiprocessing.{stage} import" in words and _parent(pid) == run.process.pid
    ]
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    finish(run)
    assert run.code == 0, run.text
    assert_nothing_runs(run)
    assert_whole(tmp_path / "out")


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # no path of ours
        return int(file.read().rsplit(")", 1)[1].split()[1])


@pytest.mark.parametrize("flags", [(), ("--stop-on-first-crash",)])
def test_of_three_at_once_two_finish_and_the_third_is_named(make_skeleton, tmp_path, flags):
    """One is killed by the system, one cannot be read; with the flag the first crash ends all."""
    labels = ("cut", "fine", "hit")
    bids_dir = make_skeleton({label: [f"sub-{label}"] for label in labels})
    image = bids_dir / "sub-cut/dwi/sub-cut_dwi.nii.gz"
    image.write_bytes(image.read_bytes()[:400])
    out = tmp_path / "out"
    call = [bids_dir, out, "participant", "-w", tmp_path / "work", *PREPROC, "--nprocs", 2, *flags]
    run = start(*call)
    Killer(tmp_path / "work", random.Random(0), r"sub_hit_wf/.*denoise_dwi$").watch(run)
    finish(run)
    assert_nothing_runs(run)
    assert run.code == 1
    assert_whole(out)
    finished = re.fullmatch(
        r"shd-bids finished: (\d) of 3 participant\(s\); failed: (.*)\.", run.last_line
    )
    assert finished, run.text
    named = set(finished[2].split(", "))
    assert {"sub-cut", "sub-hit"} <= named
    for label in labels:
        assert (out / f"sub-{label}.html").is_file()
    assert "killed by SIGKILL" in (out / "sub-hit.html").read_text()
    if not flags:
        assert named == {"sub-cut", "sub-hit"}
        assert "sub-fine/dwi/sub-fine_desc-image_qc.tsv" in files_of(out)


@pytest.fixture
def study(tmp_path):
    """Give the arguments of the group level over two participants."""
    bids_dir = write_dataset(tmp_path / "bids", "raw")
    out = write_dataset(tmp_path / "out", "derivative")
    for label in ("01", "02"):
        (bids_dir / f"sub-{label}").mkdir()
        write_participant(out, label)
    flags = ("--device", "cpu", "--lmax", 4, "--shd-steps", 60, "--omp-nthreads", 1)
    return [bids_dir, out, "group", "-w", tmp_path / "work", *flags]


@pytest.mark.parametrize("node", ["average_responses", "train_study", "train_study fit"])
def test_a_step_of_the_group_level_is_killed_and_the_same_command_finishes(study, tmp_path, node):
    killer = Killer(tmp_path / "work", random.Random(0), f"{node}$")
    run = start(*study)
    struck = killer.watch(run)
    finish(run)
    assert struck
    assert run.code == 1, run.text
    assert "killed by SIGKILL" in run.text
    assert run.last_line.startswith("shd-bids failed: group of 2 participant(s)")
    assert "killed by SIGKILL" in (tmp_path / "out/group.html").read_text()
    assert_nothing_runs(run)
    again = finish(start(*study))
    assert again.code == 0, again.text
    assert (tmp_path / "out/group/group_model-shdtv_desc-weights_model.safetensors").is_file()


def test_the_training_of_a_study_that_is_asked_to_end_goes_on(study):
    run = start(*study)
    wait_for_line(run, r"Step ([1-9]|[1-5]\d) of 60")
    kill(run, signal.SIGTERM)
    finish(run)
    assert run.code == 128 + signal.SIGTERM, run.text
    (step,) = re.findall(r"saved up to step (\d+)", run.text)
    assert_nothing_runs(run)
    again = finish(start(*study))
    assert again.code == 0, again.text
    assert f"Training goes on after step {step}." in again.text


def test_a_second_run_of_the_group_level_is_refused_from_any_work_directory(study, tmp_path):
    run = start(*study)
    wait_for_line(run, "train_study: started")
    try:
        other = [tmp_path / "other" if flag == tmp_path / "work" else flag for flag in study]
        for call in (study, other):
            refused = finish(start(*call))
            assert refused.code == 2
            assert "at work on the group level" in refused.last_line
    finally:
        kill(run, signal.SIGTERM)
        finish(run)
    assert_nothing_runs(run)
