"""Names of folders that a shell, a pattern or a page would stumble over."""

import os
import shutil
import sys
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import nibabel as nib
import numpy as np
import pytest
from faults.launch import finish, start
from faults.quick import assert_whole_results

from shd_bids.bids.dataset import open_layout
from shd_bids.bids.files import write_text
from shd_bids.cli.run import main
from shd_bids.errors import OutputError
from shd_bids.testing.phantom import make_phantom, write_phantom_bids

NAMES = {
    "blanks": " a  b ",
    "composed": unicodedata.normalize("NFC", "Größe"),
    "decomposed": unicodedata.normalize("NFD", "Größe"),
    "emoji": "🧠",
    "quotes": 'it\'s "so"',
    "shell": "$HOME;true&&`id`|cat>x",
    "format": "%s{0}{sub}%(x)s",
    "dash": "-x",
    "newline": "a\nb",
    "address": "a%20b#d&e=f",
    "entities": "sub-99",
    "datatype": "func",
    "long": "n" * 200,
}
BRACKETS = "[a]*b"
WORST = "a b'\"$HOME;&|%7B{x}#?é" + unicodedata.normalize("NFD", "ü") + "🧠-"


@pytest.fixture
def places(make_skeleton, tmp_path):
    """Lay out everything that a call may name, in folders of one name."""

    def lay_out(name: str) -> dict[str, Path]:
        root = tmp_path / "root"
        folders = {what: root / what / name for what in ("in", "out", "w", "given")}
        folders["in"].parent.mkdir(parents=True)
        shutil.copytree(make_skeleton({"01": ["sub-01"]}), folders["in"])
        given = folders["given"]
        given.mkdir(parents=True)
        (given / "wm.txt").write_text("3000 0 0\n1500 -600 90\n")
        (given / "csf.txt").write_text("9000\n450\n")
        (given / "run.toml").write_text("[tracking]\nn_streamlines = 10\n")
        labels = np.ones((6, 6, 4), np.int16)
        nib.Nifti1Image(labels, np.diag([-2.0, 2.0, 2.0, 1.0])).to_filename(
            given / "space-orig_dseg.nii.gz"
        )
        (given / "space-orig_dseg.tsv").write_text("index\tname\n1\tall\n")
        return folders

    return lay_out


def _call(folders, *flags) -> list[str]:
    given = folders["given"]
    return [
        *(str(folders["in"]), str(folders["out"]), "participant", "-w", str(folders["w"])),
        *("--response", f"WM={given / 'wm.txt'}", f"CSF={given / 'csf.txt'}"),
        *("--config-file", str(given / "run.toml")),
        *("--atlases", str(given / "space-orig_dseg.nii.gz")),
        *("--fod-model", "csd", "--device", "cpu", "--boilerplate-only", *flags),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_planned_whatever_its_folders_are_called(places, name, capsys):
    folders = places(NAMES[name])
    assert main(_call(folders)) == 0, capsys.readouterr()
    assert (folders["out"] / "logs/CITATION.md").is_file()
    links = (folders["out"] / "dataset_description.json").read_text(encoding="utf-8")
    assert folders["in"].resolve().as_uri() in links


def test_brackets_are_no_pattern_but_in_the_work_directory_where_they_are_refused(places, capsys):
    folders = places(BRACKETS)
    assert main(_call(folders)) == 2
    assert "holds * [, which nipype takes for a pattern" in capsys.readouterr().err
    folders["w"] = folders["w"].parent
    assert main(_call(folders)) == 0, capsys.readouterr()


def test_folders_may_be_relative_and_end_in_a_slash_or_start_with_a_dash(
    places, monkeypatch, capsys
):
    folders = places("-x")
    monkeypatch.chdir(folders["in"].parent)
    call = _call(folders | {"in": Path("./-x/"), "out": Path("../out/-x/")})
    call[0], call[1] = "./-x/", "../out/-x//"
    assert main(call) == 0, capsys.readouterr()
    assert (folders["out"] / "logs/CITATION.md").is_file()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out": "in"}, "is the input itself"),
        ({"out": "in/derivatives"}, "lies inside the input"),
        ({"w": "in/w"}, "lies inside the input"),
        ({"w": "in"}, "lies inside the input"),
        ({"w": "."}, "holds the input"),
        ({"w": "out"}, "holds the output"),
        ({"out": "link"}, "is the input itself"),
        ({"out": "link/out"}, "lies inside the input"),
    ],
)
def test_folders_that_would_harm_each_other_are_refused(make_skeleton, tmp_path, change, words):
    (tmp_path / "in").parent.mkdir(exist_ok=True)
    make_skeleton({"01": ["sub-01"]}).rename(tmp_path / "in")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    folders = {what: tmp_path / change.get(what, what) for what in ("in", "out", "w")}
    call = [str(folders["in"]), str(folders["out"]), "participant", "-w", str(folders["w"])]
    assert main(call) == 2
    assert not (tmp_path / "w").exists()


def test_the_input_may_lie_inside_the_output(make_skeleton, tmp_path, capsys):
    bids_dir = make_skeleton({"01": ["sub-01"]})
    (tmp_path / "out").mkdir()
    bids_dir = bids_dir.rename(tmp_path / "out" / "raw")
    call = [str(bids_dir), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w")]
    assert main([*call, "--boilerplate-only"]) == 0, capsys.readouterr()


@pytest.fixture
def farm(make_skeleton, tmp_path):
    """Turn a dataset into links to a store, as git-annex does."""
    bids_dir, store = make_skeleton({"01": ["sub-01"]}), tmp_path / "store"
    store.mkdir()
    for number, file in enumerate(sorted(bids_dir.rglob("sub-*_dwi.*"))):
        kept = store / f"MD5E-s{number}"
        file.rename(kept)
        file.symlink_to(os.path.relpath(kept, file.parent))
    return bids_dir


def test_links_to_what_is_there_are_as_good_as_files(farm, tmp_path):
    call = [str(farm), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w")]
    assert main([*call, "--boilerplate-only"]) == 0


@pytest.mark.parametrize("extension", [".nii.gz", ".bval", ".bvec"])
def test_links_whose_content_was_not_fetched_are_told_with_how_to_get_it(
    farm, tmp_path, extension, capsys
):
    next(farm.rglob(f"*_dwi{extension}")).resolve().unlink()
    call = [str(farm), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w")]
    assert main([*call, "--boilerplate-only"]) == 1
    said = capsys.readouterr().out
    assert "datalad get" in said
    assert f"sub-01_dwi{extension}" in said
    assert said.rstrip().endswith("shd-bids finished: 0 of 1 participant(s); failed: sub-01.")


def test_a_name_as_long_as_a_disk_allows_can_be_written(tmp_path):
    for name in ("n" * 255, "ü" * 127):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    with pytest.raises(OutputError, match=r"File name too long\. .*shorten labels"):
        write_text(tmp_path / ("n" * 256), "text")


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_a_damaged_index_of_the_dataset_is_made_anew(make_skeleton, tmp_path, content, caplog):
    bids_dir, kept = make_skeleton({"01": ["sub-01"]}), tmp_path / "index"
    open_layout(bids_dir, participant_labels=[], database_dir=kept)
    (database,) = kept.glob("*/*.sqlite")
    if content is None:
        database.unlink()
    else:
        database.write_bytes(content)
    layout = open_layout(bids_dir, participant_labels=[], database_dir=kept)
    assert len(layout.get(suffix="dwi", extension=".nii.gz")) == 1


def test_an_index_folder_of_another_dataset_is_not_mixed_up(make_skeleton, tmp_path):
    kept = tmp_path / "index"
    other = make_skeleton({"01": ["sub-01"], "02": ["sub-02"]}).rename(tmp_path / "other")
    open_layout(other, participant_labels=[], database_dir=kept)
    layout = open_layout(
        make_skeleton({"01": ["sub-01"]}), participant_labels=[], database_dir=kept
    )
    assert layout.get_subjects() == ["01"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names that other systems refuse")
def test_a_whole_run_bears_the_worst_names_and_its_page_finds_its_pictures(tmp_path):
    import re

    folders = {what: tmp_path / f"{what} {WORST}" for what in ("in", "out", "given")}
    phantom = make_phantom((18, 18, 14), 4.0, shells={0: 3, 1000: 16})
    write_phantom_bids(phantom, folders["in"])
    image = nib.load(next(folders["in"].rglob("*_dwi.nii.gz")))
    halves = np.ones(image.shape[:3], np.int16)
    halves[9:] = 2
    folders["given"].mkdir()
    atlas = folders["given"] / "space-orig_atlas-Halves_dseg.nii.gz"
    nib.Nifti1Image(halves, image.affine).to_filename(atlas)
    (folders["given"] / "space-orig_atlas-Halves_dseg.tsv").write_text("index\tname\n1\ta\n2\tb\n")
    run = finish(
        start(
            *(folders["in"], folders["out"], "participant"),
            *("-w", tmp_path / f"w {WORST.replace('?', '')}", "--skip-anat", "--hmc", "none"),
            *("--fod-model", "shd-tv", "csd", "--shd-steps", "3", "--n-streamlines", "100"),
            *("--atlases", atlas, "--denoise-method", "none", "--bias-correction", "none"),
            *("--tractogram-format", "tck", "trx", "--nprocs", "1", "--omp-nthreads", "1"),
        ),
        timeout_s=1800,
    )
    assert run.code == 0, run.text
    assert_whole_results(folders["out"])
    page = (folders["out"] / "sub-01.html").read_text(encoding="utf-8")
    links = re.findall(r'(?:href|src|data)="(?!https?:|#|data:|mailto:)([^"]+)"', page)
    assert links
    assert [link for link in links if not (folders["out"] / unquote(link)).exists()] == []
