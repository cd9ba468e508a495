"""The columns of a table are described by whoever made it."""

from shd_bids.bids.columns import columns_of


def test_columns_of_others_keep_their_description(tmp_path):
    table_file = tmp_path / "sub-01_desc-confounds_timeseries.tsv"
    table_file.write_text("trans_x\tfd\n0.1\t0.2\n")
    table_file.with_suffix(".json").write_text('{"fd": {"Units": "mm"}, "other": {}}')
    found = columns_of(table_file)
    assert list(found) == ["trans_x", "fd"]
    assert found["fd"] == {"Units": "mm"}
    assert "does not describe it" in found["trans_x"]["Description"]


def test_a_table_needs_no_sidecar(tmp_path):
    table_file = tmp_path / "a.tsv"
    table_file.write_text("b\r\n1\r\n")
    assert list(columns_of(table_file)) == ["b"]
