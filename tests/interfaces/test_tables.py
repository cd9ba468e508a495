"""What a table holds comes back as it was, and only `n/a` is missing."""

import numpy as np

from shd_bids.interfaces.tables import read_table, write_table

NAMES = ["NA", "7", "n/a", 'a "quoted" one', "ü"]


def test_what_is_missing_in_a_table_is_written_as_bids_wants_it(tmp_path):
    columns = {"a": [1, None], "b": [0.123456789, float("nan")]}
    write_table(columns, tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == "a\tb\n1\t0.123457\nn/a\tn/a\n"


def test_names_come_back_as_text_and_numbers_as_numbers(tmp_path):
    values = [1.5, np.nan, 0.0, -2.25, 1e6]
    file = write_table({"name": NAMES, "value": values}, tmp_path / "table.tsv")
    table = read_table(file, texts=["name"])
    assert table["name"].tolist() == NAMES
    np.testing.assert_array_equal(table["value"], values)


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    file = write_table({"name": [], "value": []}, tmp_path / "table.tsv")
    assert list(read_table(file, texts=["name"]).columns) == ["name", "value"]
