"""Results get their final names whole, and only when they changed."""

import json
import os

import pytest

from shd_bids.errors import OutputError
from shd_bids.interfaces.derivatives import SaveDerivatives, save_file


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "work" / "map.nii.gz"
    file.parent.mkdir()
    file.write_bytes(b"voxels")
    return file


def _save(source, output_dir, **inputs):
    node = SaveDerivatives(
        in_files={"map": str(source)},
        paths={"map": "sub-01/dwi/sub-01_dwimap.nii.gz", "other": "never.nii.gz"},
        output_dir=str(output_dir),
        **inputs,
    )
    return node.run(cwd=str(source.parent)).outputs.out_files


def test_a_file_and_its_sidecar_get_their_names(source, tmp_path):
    saved = _save(source, tmp_path / "out", sidecars={"map": {"Units": "1"}, "other": {}})
    folder = tmp_path / "out/sub-01/dwi"
    assert saved == {"map": str(folder / "sub-01_dwimap.nii.gz")}
    assert (folder / "sub-01_dwimap.nii.gz").read_bytes() == b"voxels"
    assert json.loads((folder / "sub-01_dwimap.json").read_text()) == {"Units": "1"}
    assert sorted(file.name for file in folder.iterdir()) == [
        "sub-01_dwimap.json",
        "sub-01_dwimap.nii.gz",
    ]


def test_what_only_the_run_could_tell_joins_the_sidecar(source, tmp_path):
    _save(source, tmp_path / "out", sidecars={"map": {"Units": "1"}}, found={"Verdict": "good"})
    sidecar = json.loads((tmp_path / "out/sub-01/dwi/sub-01_dwimap.json").read_text())
    assert sidecar == {"Units": "1", "Verdict": "good"}


def test_what_did_not_change_is_not_copied_again(source, tmp_path):
    _save(source, tmp_path / "out", sidecars={"map": {"Units": "1"}})
    folder = tmp_path / "out/sub-01/dwi"
    before = {file: file.stat().st_ino for file in folder.iterdir()}
    _save(source, tmp_path / "out", sidecars={"map": {"Units": "1"}})
    assert {file: file.stat().st_ino for file in folder.iterdir()} == before


@pytest.mark.parametrize("content", ["", '{"Units": ', "[1]", "\0" * 40, "[" * 5000])
def test_a_sidecar_that_was_damaged_is_written_again(source, tmp_path, content):
    file = tmp_path / "out/sub-01/dwi/sub-01_dwimap.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    _save(source, tmp_path / "out", sidecars={"map": {"Units": "1"}})
    assert json.loads(file.read_text()) == {"Units": "1"}


def test_what_changed_replaces_the_old(source, tmp_path):
    destination = tmp_path / "out.nii.gz"
    save_file(source, destination)
    source.write_bytes(b"VOXELS")
    os.utime(source, ns=(1, 1))
    save_file(source, destination)
    assert destination.read_bytes() == b"VOXELS"


def test_a_file_that_was_deleted_comes_back(source, tmp_path):
    destination = tmp_path / "out.nii.gz"
    save_file(source, destination)
    destination.unlink()
    save_file(source, destination)
    assert destination.exists()


def test_what_is_not_made_any_more_is_taken_away_with_its_sidecar(source, tmp_path):
    stem = tmp_path / "out" / "sub-01_bundle-x_tractogram"
    stem.parent.mkdir()
    for extension in (".tck", ".json"):
        stem.with_suffix(extension).touch()
    node = SaveDerivatives(
        in_files={"map": str(source)},
        paths={"map": "sub-01_dwimap.nii.gz", "x": f"{stem.name}.tck"},
        output_dir=str(stem.parent),
    )
    node.run(cwd=str(source.parent))
    assert [file.name for file in stem.parent.iterdir()] == ["sub-01_dwimap.nii.gz"]


def test_a_sidecar_that_tells_of_another_file_stays(source, tmp_path):
    for extension in (".trk", ".json"):
        (tmp_path / f"t{extension}").write_text("{}")
    node = SaveDerivatives(
        in_files={"tck": str(source)},
        paths={"tck": "t.tck", "trk": "t.trk"},
        sidecars={"tck": {"Units": "mm"}},
        output_dir=str(tmp_path),
    )
    node.run(cwd=str(source.parent))
    assert sorted(file.name for file in tmp_path.glob("t.*")) == ["t.json", "t.tck"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="Cannot write"):
        save_file(source, tmp_path / "out" / "map.nii.gz")


def test_a_place_that_is_a_file_is_named(source, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        save_file(source, tmp_path / "out" / "map.nii.gz")
