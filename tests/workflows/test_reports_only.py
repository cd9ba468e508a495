"""Pages and the methods text without any processing, over results a few voxels wide."""

import json
from pathlib import Path

import pytest
from own_tree import write_own_tree
from shd_workflows.reports_only import remake_pages
from shd_workflows.run import write_boilerplate

from shd_bids.cli.run import main
from shd_bids.config import DeconvConfig, ExecutionConfig, RunConfig
from shd_bids.errors import BidsDataError, ConfigError


@pytest.fixture
def out(tmp_path) -> Path:
    """Results with the log folders of two runs."""
    out = write_own_tree(tmp_path / "out")
    for run, text in (("20260101-000000_a", "First."), ("20260102-000000_b", "Later [@csd].")):
        folder = out / "sub-01/log" / run
        folder.mkdir(parents=True)
        (folder / "shd-bids.toml").write_text(f'# {run}\n[execution]\nlevel = "fod"\n')
        (folder / "methods.md").write_text(text)
        (folder / "methods-study.md").write_text(text)
    (folder / "crash-x.txt").write_text("Node: x\n\nTraceback:\nImageError: it broke.\n")
    return out


def _digest(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(file): (file.stat().st_mtime_ns, file.stat().st_size)
        for kind in ("dwi", "anat", "log")
        for file in (folder / "sub-01" / kind).rglob("*")
    }


def test_a_page_tells_of_the_last_run_and_no_result_is_touched(out):
    before = _digest(out)
    (outcome,) = remake_pages(out)
    assert outcome.finished
    page = (out / "sub-01.html").read_text()
    for words in ("ImageError: it broke", "<p>about</p>", "20260102-000000_b", "Later", "Tournier"):
        assert words in page, words
    assert "First." not in page
    assert "desc-motion_dwi.svg" in page
    assert "Later" in (out / "logs/CITATION.md").read_text()
    assert _digest(out) == before


def test_who_has_nothing_is_told_what_was_looked_for(out, capsys):
    (out / "sub-02/dwi").mkdir(parents=True)
    nowhere, work = out.parent / "nowhere", out.parent / "work"
    call = [str(nowhere), str(out), "participant", "--reports-only", "-w", str(work)]
    assert main(call) == 1
    said = capsys.readouterr().out
    assert f"sub-02: There is nothing to make a page of: searched {out}/sub-02/figures" in said
    assert said.strip().endswith("finished: 1 of 2 participant(s); failed: sub-02.")
    assert (out / "sub-01.html").is_file()
    assert not (out / "sub-02.html").exists()
    assert not work.exists()
    assert main([*call, "--participant-label", "sub-01"]) == 0
    assert main([*call, "--participant-label", "03"]) == 1


def test_an_output_without_participants_is_refused(tmp_path):
    with pytest.raises(BidsDataError, match=r"holds no results: searched for folders named sub-\*"):
        remake_pages(tmp_path)


def test_only_one_of_both_can_be_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="were both given"):
        ExecutionConfig(tmp_path, tmp_path / "out", reports_only=True, boilerplate_only=True)


@pytest.mark.parametrize("own", [False, True])
def test_the_methods_are_written_and_nothing_else(make_skeleton, tmp_path, own):
    given = {"derivatives": {"shdbids": write_own_tree(tmp_path / "earlier")}} if own else {}
    bids_dir = make_skeleton({"01": ["sub-01"], "02": ["sub-02"]})
    (bids_dir / "sub-02/dwi/sub-02_dwi.bval").unlink()
    execution = ExecutionConfig(bids_dir, tmp_path / "new", work_dir=tmp_path / "work", **given)
    deconv = DeconvConfig(fod_models=("csd",), shd_preset="fast", device="cpu")
    outcomes, citation_file = write_boilerplate(RunConfig(execution, deconv=deconv))
    assert [outcome.finished for outcome in outcomes] == [True, False]
    assert citation_file == tmp_path / "new/logs/CITATION.md"
    text = citation_file.read_text()
    assert ("Prepared by hand" in text) == ("csd by hand." in text) == own
    assert "Maps of their density" in text
    assert not (tmp_path / "work").exists()
    assert {file.name for file in (tmp_path / "new").rglob("*") if file.is_file()} <= {
        *("CITATION.md", "CITATION.html", "CITATION.bib"),
        *("dataset_description.json", ".bidsignore", "README.md", ".shd-bids.lock"),
    }
    description = json.loads((tmp_path / "new/dataset_description.json").read_text())
    assert set(description["DatasetLinks"]) == {"raw", *given.get("derivatives", {})}
