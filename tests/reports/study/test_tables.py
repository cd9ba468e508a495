"""The tables of a study hold every series, what stands apart and what is missing."""

import csv
import json

import pytest

from shd_bids.bids.study import read_study
from shd_bids.reports.study.measures import gather_measures
from shd_bids.reports.study.outliers import find_outliers
from shd_bids.reports.study.tables import write_tables
from shd_bids.testing.study import CRASH, write_study


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    output_dir = write_study(root, 10)
    (crash_file,) = (output_dir / "sub-0003").rglob("crash-*")
    crash_file.with_name("crash-2.txt").write_text("Node: x\nOSError: a\tb\n")
    study = read_study(output_dir, [f"{number:04d}" for number in range(1, 11)])
    rows = gather_measures(study)
    write_tables(output_dir / "group", study, rows, find_outliers(rows)[1])
    return output_dir / "group"


def _read(group, name):
    with (group / f"group_desc-{name}_qc.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_series_has_a_row_with_its_state_verdict_and_measures(group):
    rows = {row["participant_id"]: row for row in _read(group, "measures")}
    assert len(rows) == 9
    assert rows["sub-0005"]["verdict"] == "poor"
    assert "mean_fd" in rows["sub-0005"]["outliers"].split(",")
    assert rows["sub-0001"]["outliers"] == rows["sub-0001"]["session_id"] == "n/a"
    assert rows["sub-0003"]["state"] == "failed"
    assert rows["sub-0003"]["residual_median_shdtv"] == "n/a"
    assert float(rows["sub-0001"]["residual_median_shdtv"]) > 0
    assert rows["sub-0001"]["shells"] == "0,1000,2500"


@pytest.mark.parametrize("name", ["measures", "outliers", "missing"])
def test_every_column_is_described(group, name):
    fields = json.loads((group / f"group_desc-{name}_qc.json").read_text())
    for column in _read(group, name)[0]:
        assert fields[column]["Description"]


def test_the_limits_stand_with_their_measure(group):
    fields = json.loads((group / "group_desc-measures_qc.json").read_text())
    assert fields["mean_fd"]["Units"] == "mm"
    assert (fields["mean_fd"]["Good"], fields["mean_fd"]["Poor"]) == (0.5, 1.0)


def test_an_outlier_is_told_beside_the_median(group):
    rows = [row for row in _read(group, "outliers") if row["measure"] == "mean_fd"]
    (row,) = rows
    assert row["participant_id"] == "sub-0005"
    assert float(row["value"]) > 4 * float(row["median"])
    assert float(row["z_score"]) > 3.5


def test_whoever_did_not_finish_is_listed_with_the_reason(group):
    rows = {row["participant_id"]: row for row in _read(group, "missing")}
    assert list(rows) == ["sub-0003", "sub-0007", "sub-0009"]
    assert CRASH in rows["sub-0003"]["message"]
    assert "OSError: a b" in rows["sub-0003"]["message"]
    assert rows["sub-0003"]["missing"].startswith("response (WM), fod (shdtv)")
    assert rows["sub-0007"]["missing"] == "tractogram (tck), track density, report page"
    assert rows["sub-0009"]["state"] == "not processed"
