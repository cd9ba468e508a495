"""The output dataset says who made it and from what, also after several runs."""

import json
import threading
from pathlib import Path

import pytest

from shd_bids.bids.description import dataset_description, write_dataset_files
from shd_bids.errors import OutputError

QSIPREP = {"Name": "QSIPrep", "Version": "1.0.1"}


def describe(**options):
    options = {"links": {"raw": Path("/data")}, "input_description": {}} | options
    return dataset_description(version="0.1.0", **options)


def written(output_dir: Path) -> dict:
    return json.loads((output_dir / "dataset_description.json").read_text())


def test_the_container_is_recorded():
    container = {"Type": "docker", "Tag": "shd-bids:0.1.0"}
    assert describe(container=container)["GeneratedBy"][0]["Container"] == container
    assert "Container" not in describe()["GeneratedBy"][0]


def test_the_doi_and_licence_of_the_input_are_passed_on():
    fields = describe(input_description={"DatasetDOI": "doi:10.1/x", "License": "CC0"})
    assert fields["SourceDatasets"] == [{"URL": "https://doi.org/10.1/x", "DOI": "doi:10.1/x"}]
    assert fields["License"] == "CC0"


def test_the_version_of_a_source_is_the_newest_of_its_changes(tmp_path):
    (tmp_path / "CHANGES").write_text("1.1.0 2024-02-01\n  - More.\n1.0.0 2024-01-01\n  - First.\n")
    (source,) = describe(links={"raw": tmp_path})["SourceDatasets"]
    assert source == {"URL": tmp_path.as_uri(), "Version": "1.1.0"}


def test_the_programs_that_made_the_input_are_named_after_this_one():
    links = {"raw": Path("/data"), "qsiprep": Path("/derived")}
    apart = describe(links=links, other_descriptions={"qsiprep": {"GeneratedBy": [QSIPREP]}})
    alone = describe(input_description={"PipelineDescription": QSIPREP})
    for description in (apart, alone):
        ours, theirs = description["GeneratedBy"]
        assert ours["Name"] == "shd-bids"
        assert theirs == QSIPREP
    assert len(apart["SourceDatasets"]) == 2


def test_templates_are_a_link_and_no_source():
    description = describe(links={"raw": Path("/data"), "templateflow": Path("/templates")})
    assert description["DatasetLinks"]["templateflow"] == "file:///templates"
    assert description["SourceDatasets"] == [{"URL": "file:///data"}]


def test_a_later_run_keeps_the_links_that_files_of_an_earlier_one_rest_on(tmp_path):
    links = {"raw": Path("/data"), "qsiprep": Path("/derived")}
    first = describe(links=links, other_descriptions={"qsiprep": {"GeneratedBy": [QSIPREP]}})
    write_dataset_files(tmp_path, first | {"Authors": ["A. User"]})
    write_dataset_files(tmp_path, describe(links={"raw": Path("/moved")}))
    found = written(tmp_path)
    assert found["DatasetLinks"] == {"raw": "file:///moved", "qsiprep": "file:///derived"}
    assert {"URL": "file:///derived"} in found["SourceDatasets"]
    assert [entry["Name"] for entry in found["GeneratedBy"]] == ["shd-bids", "QSIPrep"]
    assert found["Authors"] == ["A. User"]


def test_runs_side_by_side_lose_none_of_their_links(tmp_path):
    threads = [
        threading.Thread(
            target=write_dataset_files,
            args=(tmp_path, describe(links={"raw": Path("/data"), f"d{i}": Path(f"/d{i}")})),
        )
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(written(tmp_path)["DatasetLinks"]) == {"raw", "d0", "d1", "d2", "d3"}


def test_the_same_run_again_changes_nothing(tmp_path):
    for _ in range(2):
        write_dataset_files(tmp_path, describe())
    assert written(tmp_path) == describe()


@pytest.mark.parametrize("made", [{"DatasetType": "raw"}, {"GeneratedBy": [QSIPREP]}])
def test_a_dataset_of_someone_else_is_not_written_over(tmp_path, made):
    file = tmp_path / "dataset_description.json"
    file.write_text(json.dumps({"Name": "Theirs", **made}))
    with pytest.raises(OutputError, match=r"is not by shd-bids, but describes 'Theirs'"):
        write_dataset_files(tmp_path, describe())
    assert json.loads(file.read_text())["Name"] == "Theirs"
    assert not (tmp_path / ".bidsignore").exists()


def test_what_a_user_wrote_stays(tmp_path):
    (tmp_path / "README.rst").write_text("Mine.")
    (tmp_path / ".bidsignore").write_text("notes.txt\n")
    write_dataset_files(tmp_path, describe())
    assert not (tmp_path / "README.md").exists()
    assert ".bidsignore" in {file.name for file in tmp_path.iterdir()}
    lines = (tmp_path / ".bidsignore").read_text().splitlines()
    assert {"notes.txt", "*_dwimap.*"} <= set(lines)


def test_a_new_dataset_gets_a_readme(tmp_path):
    write_dataset_files(tmp_path, describe())
    assert "docs/outputs.md" in (tmp_path / "README.md").read_text()
