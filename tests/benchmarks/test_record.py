"""Tables and records of the benchmarks."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.record import add_output_arguments, describe_machine, print_table, write_record


def test_a_table_has_the_columns_of_all_rows(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"model": "csd", "error": 1.23456}, {"model": "shd", "seconds": 3}], "Peers")
    title, header, first, second = capsys.readouterr().out.strip().splitlines()
    assert title == "Peers"
    assert header.split() == ["model", "error", "seconds"]
    assert first.split() == ["csd", "1.235", "-"]
    assert second.split() == ["shd", "-", "3"]


def test_a_record_says_what_ran_where(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    rows = [{"form": "ours", "ratio": np.float32(0.5)}]
    write_record(Namespace(json=file, reference=Path("there")), name="speed", rows=rows)
    record = json.loads(file.read_text())
    assert record["rows"] == [{"form": "ours", "ratio": 0.5}]
    assert record["settings"] == {"json": str(file), "reference": "there"}
    assert record["command"].startswith("python -m benchmarks.speed")
    assert record["machine"]["cpu"] == describe_machine()["cpu"]
    assert record["machine"]["versions"]["torch"]


def test_the_output_options_are_paths_or_none() -> None:
    parser = ArgumentParser()
    add_output_arguments(parser)
    options = parser.parse_args(["--json", "x.json"])
    assert options.json == Path("x.json")
    assert options.figure is None
