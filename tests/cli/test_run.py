"""The program as a user calls it: exit codes, last lines, and what is left on disk."""

import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.cli.run import main

FAST = ("--denoise-method", "none", "--mask-method", "none", "--nprocs", "2", "--omp-nthreads", "1")


def _run(*arguments, **options):
    command = [sys.executable, "-m", "shd_bids.cli.run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, **options)


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        content.update(str(file.relative_to(folder)).encode())
        content.update(str(file.stat().st_mtime_ns).encode())
        if file.is_file():
            content.update(file.read_bytes())
    return content.hexdigest()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, request):
    """One call over a participant that is fine and some that are not."""
    from conftest import write_skeleton

    root = tmp_path_factory.mktemp("mixed")
    labels = ("good", "cut", "short", "nodwi", "nob0", "nan")
    bids_dir = write_skeleton(root / "bids", {label: [f"sub-{label}"] for label in labels})

    def file(label, extension=".nii.gz"):
        return bids_dir / f"sub-{label}/dwi/sub-{label}_dwi{extension}"

    file("cut").write_bytes(file("cut").read_bytes()[:400])
    bvals = file("short", ".bval").read_text().split()
    file("short", ".bval").write_text(" ".join(bvals[:-2]) + "\n")
    for extension in (".nii.gz", ".bval", ".bvec", ".json"):
        file("nodwi", extension).unlink()
    file("nob0", ".bval").write_text(" ".join(["1000"] * len(bvals)) + "\n")
    image = nib.load(file("nan"))
    data = image.get_fdata()
    data[2, 2, 2, 3] = np.nan
    nib.Nifti1Image(data.astype(np.float32), image.affine).to_filename(file("nan"))

    before = _digest(bids_dir)
    done = _run(
        bids_dir, root / "out", "participant", "--level", "preproc", "-w", root / "w", *FAST
    )
    return done, root, before


def test_one_failure_is_enough_for_exit_code_1(mixed):
    done, _, _ = mixed
    assert done.returncode == 1, done.stdout + done.stderr


def test_the_last_line_says_who_finished_and_who_did_not(mixed):
    last = mixed[0].stdout.strip().splitlines()[-1]
    assert last.startswith("shd-bids finished: 1 of 6 participant(s); failed: ")
    assert set(re.findall(r"sub-\w+", last)) == {
        "sub-cut",
        "sub-short",
        "sub-nodwi",
        "sub-nob0",
        "sub-nan",
    }


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("cut", r"sub-cut_dwi\.nii\.gz (is truncated|cannot be read)"),
        ("short", r"sub-short_dwi\.bval"),
        ("nodwi", r"No diffusion images of participant nodwi"),
        ("nob0", r"b=0"),
        ("nan", r"sub-nan_dwi\.nii\.gz holds 1 values that are NaN"),
    ],
)
def test_every_failure_is_told_in_words_on_the_screen_and_in_the_page(mixed, label, words):
    done, root, _ = mixed
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"  sub-{label}: ")]
    assert any(re.search(words, line) for line in lines), lines
    assert any("crash file" in line for line in lines)
    assert re.search(words, (root / f"out/sub-{label}.html").read_text())


def test_messages_come_without_tracebacks(mixed):
    done = mixed[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_failed_participant_leaves_nothing_under_a_final_name(mixed):
    _, root, _ = mixed
    for label in ("cut", "short", "nodwi", "nob0", "nan"):
        assert not list((root / "out" / f"sub-{label}").rglob("*preproc_dwi*"))
        assert list((root / "out" / f"sub-{label}" / "log").rglob("crash-*.txt"))


def test_the_participant_that_is_fine_has_its_files(mixed):
    _, root, _ = mixed
    folder = root / "out/sub-good/dwi"
    stem = "sub-good_space-orig_desc-preproc_dwi"
    for extension in (".nii.gz", ".bval", ".bvec", ".json"):
        assert (folder / f"{stem}{extension}").is_file()
    assert (folder / "sub-good_space-orig_desc-brain_mask.nii.gz").is_file()
    assert (folder / "sub-good_desc-image_qc.tsv").is_file()
    assert len((folder / "sub-good_desc-confounds_timeseries.tsv").read_text().splitlines()) == 14
    sidecar = json.loads((folder / f"{stem}.json").read_text())
    assert sidecar["Sources"] == ["bids:raw:sub-good/dwi/sub-good_dwi.nii.gz"]
    assert sidecar["RepetitionTime"] == 3.0
    assert "No errors to report" in (root / "out/sub-good.html").read_text()


def test_the_page_of_a_lower_level_has_no_section_of_a_higher_one(mixed):
    page = (mixed[1] / "out/sub-good.html").read_text()
    sections = re.findall(r'<section id="([^"]+)"', page)
    assert "Preprocessing" in sections
    assert not {"Response", "Fibre-orientations", "Tractography"} & set(sections)
    for section in re.findall(r"<section.*?</section>", page, re.DOTALL):
        assert re.search("<(table|img|object|p|pre)\\b", section), section


def test_the_output_is_a_dataset_with_its_methods_text(mixed):
    _, root, _ = mixed
    description = json.loads((root / "out/dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    for name in ("CITATION.md", "CITATION.html", "CITATION.bib"):
        assert (root / "out/logs" / name).stat().st_size > 100


def test_the_log_of_a_participant_tells_nothing_of_another(mixed):
    _, root, _ = mixed
    (log,) = (root / "out/sub-good/log").glob("*/shd-bids.log")
    text = log.read_text()
    assert "sub_good_wf" in text
    assert "sub_nan_wf" not in text


def test_the_configuration_of_the_run_can_be_given_back(mixed, tmp_path):
    from shd_bids.config import build_config, read_config_file

    (file,) = (mixed[1] / "out/sub-good/log").glob("*/shd-bids.toml")
    config = build_config(read_config_file(file))
    assert config.execution.level == "preproc"
    assert config.deconv.shd_preset is not None


def test_the_input_is_never_written_to(mixed):
    _, root, before = mixed
    assert _digest(root / "bids") == before


def test_a_second_call_takes_every_step_from_the_cache(mixed):
    _, root, _ = mixed
    results = sorted((root / "w/shd_bids_wf/sub_good_wf").rglob("result_*.pklz"))
    stamps = [file.stat().st_mtime_ns for file in results]
    copied = root / "out/sub-good/dwi/sub-good_space-orig_desc-brain_mask.nii.gz"
    copied.unlink()
    done = _run(
        *(root / "bids", root / "out", "participant", "--level", "preproc", "-w", root / "w"),
        *("--participant-label", "good", *FAST),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished: 1 of 1" in done.stdout
    assert "started" not in done.stdout
    ran = [
        file.parent.name
        for file, stamp in zip(results, stamps, strict=True)
        if file.stat().st_mtime_ns != stamp
    ]
    assert [name for name in ran if not name.startswith("ds_")] == []
    assert copied.is_file()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--participant-label", "xx"], r"No participant xx.*It holds 1: 01"),
        (["--session-label", "xx"], "No session xx"),
        (["--bids-filter-file", "nowhere.json"], r"nowhere\.json cannot be read"),
        (["--lmax", "7"], "must be even"),
        (["--config-file", "nowhere.toml"], "cannot be read"),
        (["--device", "cuda"], "--device cuda was asked for, but"),
        (["--omp-nthreads", "9", "--nprocs", "2"], "more than --nprocs"),
        (["--response", "WM=nowhere.txt"], "there is no such file"),
    ],
)
def test_a_wrong_call_ends_with_code_2_and_one_line(make_skeleton, tmp_path, flags, words):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = _run(
        *(bids_dir, tmp_path / "out", "participant", "-w", tmp_path / "w", *flags),
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert re.search(words, done.stderr)
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.html"))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    done = _run(tmp_path / "in", tmp_path / "out", "participant", "-w", tmp_path / "w")
    assert done.returncode == 2
    assert "dataset_description.json" in done.stderr


def test_an_output_that_cannot_be_written_is_refused(make_skeleton, tmp_path):
    (tmp_path / "file").write_text("")
    done = _run(
        *(make_skeleton({"01": ["sub-01"]}), tmp_path / "file" / "out", "participant"),
        *("-w", tmp_path / "w"),
    )
    assert done.returncode == 2
    assert "cannot be made or written to" in done.stderr


def test_with_debug_the_traceback_is_shown(tmp_path):
    (tmp_path / "in").mkdir()
    done = _run(tmp_path / "in", tmp_path / "out", "participant", "--debug", "-w", tmp_path / "w")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_read_only_input_is_enough(make_skeleton, tmp_path):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    places = [bids_dir, *bids_dir.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        done = _run(
            *(bids_dir, tmp_path / "out", "participant", "--level", "preproc"),
            *("-w", tmp_path / "w", *FAST),
        )
    finally:
        for place in places:
            place.chmod(0o755 if place.is_dir() else 0o644)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_in_the_middle_nothing_goes_on_and_the_same_call_finishes(make_skeleton, tmp_path):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    flags = [bids_dir, tmp_path / "out", "participant", "--level", "preproc", "-w", tmp_path / "w"]
    call = [sys.executable, "-m", "shd_bids.cli.run", *map(str, flags), *FAST]
    mark = f"TEST_MARK={tmp_path}"
    env = os.environ | dict([mark.split("=", 1)])
    victim = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=env)
    for line in victim.stdout:
        if "merge_runs: done" in line:
            break
    assert len(_processes_with(mark)) > 1  # the graph's own and those of its nodes
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    for _ in range(200):
        if not _processes_with(mark):
            break
        time.sleep(0.1)
    assert not _processes_with(mark)
    done = _run(*flags, *FAST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "merge_runs: started" not in done.stdout
    assert "finished: 1 of 1" in done.stdout


def _processes_with(mark: str) -> list[str]:
    """List the processes that have a variable in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_text().split("\0"):
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except (OSError, UnicodeDecodeError):  # it has ended, or is not ours
            continue
    return found


def test_a_place_that_may_not_be_entered_is_told_without_a_traceback(monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "/closed/bids")

    monkeypatch.setattr("shd_bids.cli.run.parse_arguments", refuse)
    assert main(["/closed/bids", "out", "participant"]) == 2
    assert "error: /closed/bids: Permission denied" in capsys.readouterr().err
    with pytest.raises(PermissionError):
        main(["/closed/bids", "out", "participant", "--debug"])
