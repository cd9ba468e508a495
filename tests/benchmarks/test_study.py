"""The benchmark of a study's report."""

from pathlib import Path

import pytest

from benchmarks.study import main


def test_each_size_has_a_row_and_the_figure_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "study.png"
    (row,) = main(["--participants", "3", "--work", str(tmp_path), "--figure", str(figure)])
    assert row["series"] == 3
    assert row["peak_memory_mib"] > 10
    assert row["total_s"] > row["report_s"] > 0
    assert (tmp_path / "3/out/group.html").is_file()
    assert figure.is_file()
    assert "peak_memory_mib" in capsys.readouterr().out
