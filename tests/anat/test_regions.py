"""The labels of an atlas have names, each its own."""

import numpy as np
import pytest

from shd_bids.anat.regions import check_labels, count_voxels, read_regions
from shd_bids.errors import AnatomyError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label\tname\n1\ta\n", "no column index; found label, name"),
        ("index,name\n1,a\n", "no column index or name"),
        ("index\tname\n1\ta\n1\tb\n", "has the index 1; expected each region once"),
        ("index\tname\n1.5\ta\n", "has the index 1.5"),
        ("index\tname\n0\ta\n", "has no region"),
        ("", "no column index or name; found none"),
        ("1" * 5000, "no column index or name; found 1{40}\\. Expected"),
    ],
)
def test_a_table_that_cannot_be_one_is_refused(tmp_path, text, words):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(AnatomyError, match=words):
        read_regions(tmp_path / "t.tsv")


def test_a_table_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "t.tsv").write_bytes("index\tname\n1\tBrücke\n".encode("latin-1"))
    with pytest.raises(AnatomyError, match=r"t.tsv is no UTF-8 text .* Save it as UTF-8"):
        read_regions(tmp_path / "t.tsv")


def _check(data, folder, *, n_region=2):
    regions = {"index": [str(i + 1) for i in range(n_region)], "name": list("abcd")[:n_region]}
    return check_labels(data, regions, image=folder / "i.nii.gz", table=folder / "t.tsv"), regions


def test_labels_and_names_must_agree(tmp_path, caplog):
    data = np.arange(8.0).reshape(2, 2, 2) % 3
    labels, regions = _check(data, tmp_path)
    np.testing.assert_array_equal(labels, data)
    assert count_voxels(labels, regions) == {"1": 3, "2": 2}
    assert not caplog.records
    with pytest.raises(AnatomyError, match=r"i.nii.gz holds the label\(s\) 2, which .*t.tsv does"):
        _check(data, tmp_path, n_region=1)
    _check(data, tmp_path, n_region=4)
    assert "t.tsv names the label(s) 3, 4, of which" in caplog.text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((2, 2, 2), 0.5), "is no label image"),
        (np.ones((2, 2, 2, 3)), r"found 4 axes \(2, 2, 2, 3\)"),
        (np.full((2, 2, 2), -1.0), r"label\(s\) -1"),
        (np.zeros((2, 2, 2)), "holds no label"),
    ],
)
def test_what_is_no_label_image_is_refused(tmp_path, data, words):
    with pytest.raises(AnatomyError, match=words):
        _check(data, tmp_path)
