"""An atlas is found with its table, or the message says what to do."""

import nibabel as nib
import numpy as np
import pytest

from shd_bids.anat.atlas import Atlas, find_atlas
from shd_bids.errors import AnatomyError

MNI = "MNI152NLin2009cAsym"


@pytest.fixture
def folder(tmp_path):
    """Hold an atlas of two regions."""
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.int16), np.eye(4))
    for name in ("tpl-Mine_atlas-Lobes_desc-two_dseg", "mine_space-T1w_dseg", "plain"):
        image.to_filename(tmp_path / f"{name}.nii.gz")
        (tmp_path / f"{name}.tsv").write_text("index\tname\tcolor\n0\tnone\t\n1\ta\tred\n2\tb\t\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "label", "space"),
    [
        ("tpl-Mine_atlas-Lobes_desc-two_dseg", "Lobes+two", "Mine"),
        ("mine_space-T1w_dseg", "mine", "T1w"),
        ("plain", "plain", MNI),
    ],
)
def test_a_file_says_by_its_name_where_it_lies(folder, name, label, space):
    file = folder / f"{name}.nii.gz"
    expected = Atlas(label, file, folder / f"{name}.tsv", space)
    assert find_atlas(str(file), template=MNI) == expected


def test_a_table_may_lie_elsewhere(folder):
    other = folder / "other.tsv"
    (folder / "plain.tsv").rename(other)
    file = folder / "plain.nii.gz"
    assert find_atlas(f"{file},{other}", template=MNI).table_file == other
    with pytest.raises(AnatomyError, match=r"no table of its regions, searched for .*plain.tsv"):
        find_atlas(str(file), template=MNI)
    with pytest.raises(AnatomyError, match=r"there is no file .*none.tsv"):
        find_atlas(f"{file},{folder}/none.tsv", template=MNI)


def test_what_is_missing_is_named(folder):
    with pytest.raises(AnatomyError, match=r"--atlases .*none.nii.gz: there is no such file"):
        find_atlas(str(folder / "none.nii.gz"), template=MNI)
    with pytest.raises(AnatomyError, match="template of --anat-template, which is not there"):
        find_atlas(str(folder / "plain.nii.gz"), template=None)
    with pytest.raises(AnatomyError, match="lie in a template, and there is none"):
        find_atlas("Schaefer2018", template=None)
    with pytest.raises(AnatomyError, match="--atlases a b names no atlas"):
        find_atlas("a b", template=MNI)


def test_names_are_those_of_templateflow():
    with pytest.raises(AnatomyError, match=r"knows no such atlas .* It has .*Schaefer2018"):
        find_atlas("Lobes", template=MNI)
    with pytest.raises(AnatomyError, match=r"Choose from .*Schaefer2018:desc-400Parcels7Networks"):
        find_atlas("Schaefer2018", template=MNI)
    with pytest.raises(AnatomyError, match=r"MASSP20:desc-x names no .* Choose from MASSP20\."):
        find_atlas("MASSP20:desc-x", template=MNI)
    with pytest.raises(AnatomyError, match="HOCPA:desc-th25: TemplateFlow has no table"):
        find_atlas("HOCPA:desc-th25", template=MNI)


def test_an_atlas_of_templateflow_is_found_with_the_table_that_its_variants_share(
    folder, monkeypatch
):
    from templateflow import api

    def ls(name, *, extension, desc="any", **query):
        assert (name, query["atlas"]) == (MNI, "Lobes")
        files = ["res-01_atlas-Lobes_desc-two_dseg.nii.gz", "atlas-Lobes_dseg.tsv"]
        fits = [file for file in files if file.endswith(extension)]
        if desc != "any":
            fits = [file for file in fits if (f"desc-{desc}_" in file) == (desc is not None)]
        for file in fits:
            (folder / f"tpl-{MNI}_{file}").write_text("index\tname\n1\ta\n")
        return [folder / f"tpl-{MNI}_{file}" for file in fits]

    monkeypatch.setattr(api, "ls", ls)
    for asked in ("Lobes", "Lobes:desc-two", "Lobes:desc-two:res-1"):
        atlas = find_atlas(asked, template=MNI)
        assert atlas.label == "Lobes+two"
        assert atlas.table_file.name == f"tpl-{MNI}_atlas-Lobes_dseg.tsv"
