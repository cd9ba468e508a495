"""Flags and files of a whole dataset, and damage that nobody chose, given to the program itself."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.damage import write_dataset
from fuzz.test_bad_input import QUICK

from shd_bids.cli.run import main

_SOURCE = {"Name": "x", "BIDSVersion": "1.10.0"}


def _deep(n: int) -> str:
    return '{"a":' * n + "1" + "}" * n


def _files(folder: Path) -> dict[str, Path]:
    write_dataset(folder / "bids", ["01"])
    return {"bids": folder / "bids", "out": folder / "out", "file": folder / "given"}


@pytest.mark.parametrize(
    ("flag", "content", "words"),
    [
        ("--bids-filter-file", "{", "is not JSON"),
        ("--bids-filter-file", "[]", "an object of objects"),
        ("--bids-filter-file", '{"dwi": "01"}', "an object of objects"),
        ("--bids-filter-file", '{"dwi": {"subject": "02"}}', "--participant-label"),
        ("--bids-filter-file", '{"dwi": {"return_type": "id"}}', "which is no entity"),
        ("--bids-filter-file", '{"dwi": {"run": {"a": 1}}}', "expected a label, a number"),
        ("--bids-filter-file", _deep(5000), "nested more than"),
        ("--config-file", "[", "is not valid TOML"),
        ("--config-file", "[nonsense]\na = 1", "its sections may be"),
        ("--config-file", "[deconv]\nnonsense = 1", "[deconv] may hold"),
        ("--config-file", '[deconv]\nlmax = "8"', "deconv.lmax is '8'; expected"),
        ("--config-file", f"[deconv]\ntv_weight = {'9' * 400}", "deconv.tv_weight is"),
        ("--config-file", "[deconv]\nlmax = " + "[" * 5000, "is not valid TOML"),
        ("--config-file", '[execution]\nwork_dir = "~nobody-at-all/w"', "execution.work_dir is"),
        ("--config-file", '[execution]\nwork_dir = "\\u0000"', "execution.work_dir is"),
        ("--config-file", "[execution]\nparticipant_labels = [1]", "participant"),
    ],
)
def test_a_bad_file_of_settings_ends_with_code_2_and_one_message(
    tmp_path, capsys, flag, content, words
):
    given = _files(tmp_path)
    given["file"].write_text(content)
    call = [str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"]
    code = main([*call, flag, str(given["file"])])
    said = capsys.readouterr().err
    assert words in said
    assert str(given["file"]) in said or words.startswith("execution") or "setting" in said
    assert len(said) < 2000
    assert code == 2


@pytest.mark.parametrize("labels", [["sub-01"], ["01", "sub-01", "01"]])
def test_labels_may_have_their_prefix_and_be_named_twice(tmp_path, capsys, labels):
    given = _files(tmp_path)
    call = [str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"]
    code = main(
        [*call, "--level", "preproc", "--skip-bids-validation", "--participant-label", *labels]
    )
    assert "1 of 1 participant(s)" in capsys.readouterr().out
    assert code == 0


@pytest.mark.parametrize("label", ["02", "", "*", "../01", "01/../01", "a\nb"])
def test_a_label_that_is_not_there_is_refused(tmp_path, capsys, label):
    given = _files(tmp_path)
    call = [str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"]
    code = main([*call, "--participant-label", label])
    assert "participant" in capsys.readouterr().err
    assert code == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no dataset_description.json"),
        ("{", "dataset_description.json is not JSON"),
        ("[1]", "dataset_description.json holds a list"),
        (_deep(100_000), "dataset_description.json is not JSON"),
    ],
)
def test_a_bad_description_of_the_dataset_is_named(tmp_path, capsys, content, words):
    given = _files(tmp_path)
    file = given["bids"] / "dataset_description.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    code = main([str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"])
    assert words in capsys.readouterr().err
    assert code == 2


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(_SOURCE | {"GeneratedBy": {"Name": 3}, "License": [1], "DatasetType": 7}),
        json.dumps(_SOURCE | {"PipelineDescription": None, "DatasetDOI": {"a": "b"}}),
        "\ufeff" + json.dumps(_SOURCE | {"x": "\ud800", "y": float("nan")}),
    ],
)
def test_an_odd_description_of_the_dataset_does_no_harm(tmp_path, capsys, content):
    given = _files(tmp_path)
    (given["bids"] / "dataset_description.json").write_text(content, encoding="utf-8")
    (given["bids"] / "participants.tsv").write_bytes(b"\xff\xfe\0participant_id\t\n\n\t\t\tsub-99")
    (given["bids"] / "task-x_dwi.json").write_text("not JSON, and of no image here")
    call = [str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"]
    code = main([*call, "--level", "preproc"])
    assert code == 0, capsys.readouterr()


@pytest.mark.parametrize("place", ["nothing", "empty"])
def test_a_derivative_that_points_to_nothing_is_refused(tmp_path, capsys, place):
    given = _files(tmp_path)
    (tmp_path / "empty").mkdir()
    call = [str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"]
    code = main([*call, "-d", f"qsiprep={tmp_path / place}"])
    assert str(tmp_path / place) in capsys.readouterr().err
    assert code == 2


def test_a_response_of_other_shells_is_refused_before_anything_runs(tmp_path, capsys):
    given = _files(tmp_path)
    given["file"].write_text("3000 0 0\n1500 -600 90\n700 -500 200\n")
    call = [str(given["bids"]), str(given["out"]), "participant", "--boilerplate-only"]
    code = main([*call, "--level", "response", "--response", f"WM={given['file']}"])
    assert "holds 3 rows, one per shell, but the data have 2 shells" in capsys.readouterr().out
    assert code == 1


def _damage(file: Path, generator: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(max(len(content), 1))
        how = generator.choice(["set", "cut", "insert", "double", "empty", "end"])
        if how == "set" and content:
            content[at] = generator.randrange(256)
        elif how == "cut":
            del content[at : at + generator.randint(1, 50)]
        elif how == "insert":
            content[at:at] = generator.randbytes(5)
        elif how == "double":
            content += content[at:]
        elif how == "end":
            del content[at:]
        else:
            content.clear()
    file.write_bytes(bytes(content))


@pytest.mark.slow
def test_random_damage_is_never_met_with_a_traceback_and_never_stops_the_others(tmp_path):
    seed = int(os.environ.get("FUZZ_SEED", random.SystemRandom().randrange(10**6)))
    n_case = int(os.environ.get("FUZZ_CASES", 40))
    print(f"FUZZ_SEED={seed}")
    generator = random.Random(seed)
    labels = [f"{number:03d}" for number in range(n_case)]
    good, *others = write_dataset(tmp_path / "bids", ["good", *labels])
    for one in others:
        one.add_reverse()
        if generator.random() < 0.3:
            one.add_t1w()
        _damage(
            generator.choice([file for file in one.folder.rglob("*") if file.is_file()]), generator
        )
    words = [tmp_path / "bids", tmp_path / "out", "participant", "-w", tmp_path / "work"]
    words += ["--level", "preproc", "--sdc", "none", "--skip-anat"] if n_case > 200 else []
    command = [
        sys.executable,
        "-m",
        "shd_bids.cli.run",
        *map(str, words),
        "--boilerplate-only",
        *QUICK,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert done.returncode in (0, 1), said
    (last,) = [line for line in done.stdout.splitlines() if line.startswith("shd-bids finished")]
    assert f"sub-{good.label}" not in last
    n_failed = last.count("sub-")
    print(
        f"program: {n_case} cases, {n_failed} refused in words, {n_case - n_failed} taken, {last}"
    )
