"""What an earlier run has left of a series is found by name, and nothing of another series."""

import pytest
from own_tree import write_fields, write_image, write_own_tree

from shd_bids.bids.names import NamedSeries
from shd_bids.bids.own import find_own, own_version


@pytest.fixture
def own_dir(tmp_path):
    return write_own_tree(tmp_path / "out", ("csd", "shd-tv"))


def _find(own_dir, **entities):
    return find_own(own_dir, NamedSeries({"sub": "01", **entities}), "orig", version="0.1.0")


def test_every_kind_of_result_is_found(own_dir):
    own = _find(own_dir)
    assert own.mask_file.name == "sub-01_space-orig_desc-brain_mask.nii.gz"
    assert own.b0_file
    assert own.qc_file
    assert own.confounds_file
    assert set(own.response_files) == set(own.response_fields) == {"WM", "CSF"}
    assert set(own.models) == {"csd", "shdtv"}
    network = own.models["shdtv"]
    assert set(network.fod_files) == set(network.fraction_files) == {"WM", "CSF"}
    assert set(network.map_files) == {"peaks", "rmse", "afd", "nufo", "gfa", "dec"}
    assert network.fields["Settings"]["model"] == "shd-tv"
    assert network.training["step"] == [10, 20]
    assert own.models["csd"].weights_file is None
    assert own.anatomy.tissue_dwi_file.name == "sub-01_space-orig_probseg.nii.gz"
    assert set(own.figures) == {"motion", "response", "fodf", "loss", "tracts", "about"}


def test_nothing_of_another_acquisition_or_space_is_taken_for_its_own(own_dir):
    dwi = own_dir / "sub-01/dwi/sub-01"
    write_image(f"{dwi}_acq-hi_space-orig_model-rumba_param-fod_label-WM_dwimap", 45)
    write_image(f"{dwi}_space-T1w_model-csd_param-rmse_dwimap", 1)
    write_image(f"{dwi}_space-orig_model-csd_param-tdi_track-ptt_dwimap", 1)
    own = _find(own_dir)
    assert set(own.models) == {"csd", "shdtv"}
    assert own.models["csd"].map_files["rmse"].name.startswith("sub-01_space-orig")
    assert "tdi" not in own.models["csd"].map_files
    other = _find(own_dir, acq="hi")
    assert set(other.models) == {"rumba"}
    assert not other.response_files
    assert other.mask_file is None


def test_an_atlas_needs_its_table(own_dir):
    dwi = own_dir / "sub-01/dwi/sub-01_space-orig_seg"
    write_image(f"{dwi}-One_dseg", 1, Sources=["file:///one.nii.gz"])
    write_image(f"{dwi}-Two_dseg", 1)
    (own_dir / "sub-01/dwi/sub-01_space-orig_seg-One_dseg.tsv").write_text("index\tname\n")
    atlases = _find(own_dir).atlases
    assert set(atlases) == {"One"}
    assert atlases["One"][2]["Sources"] == ["file:///one.nii.gz"]


def test_the_t1w_image_is_the_one_that_the_tissues_were_made_from(own_dir):
    anat = own_dir / "sub-01/anat/sub-01"
    for stem in ("acq-a", "acq-b"):
        write_image(f"{anat}_{stem}_desc-preproc_T1w", 1)
        write_image(f"{anat}_{stem}_desc-brain_mask", 1)
    for one, other in (("T1w", "orig"), ("orig", "T1w")):
        (own_dir / f"sub-01/anat/sub-01_from-{one}_to-{other}_mode-image_xfm.txt").touch()
    for name in ("from-T1w_to-MNI152", "from-MNI152_to-T1w"):
        (own_dir / f"sub-01/anat/sub-01_acq-b_{name}_mode-image_xfm.h5").touch()
    write_fields(
        own_dir / "sub-01/anat/sub-01_space-orig_probseg.json",
        Sources=["bids:raw:sub-01/anat/sub-01_acq-b_T1w.nii.gz"],
    )
    anatomy = _find(own_dir).anatomy
    assert anatomy.t1w_file.name == "sub-01_acq-b_desc-preproc_T1w.nii.gz"
    assert anatomy.mask_file.name == "sub-01_acq-b_desc-brain_mask.nii.gz"
    assert anatomy.template == "MNI152"
    assert set(anatomy.transforms) == {
        *("t1w_to_dwi", "dwi_to_t1w", "t1w_to_template", "template_to_t1w"),
    }


@pytest.mark.parametrize(
    ("generated_by", "version"),
    [
        ([{"Name": "shd-bids", "Version": "0.1.0"}, {"Name": "qsiprep"}], "0.1.0"),
        ([{"Name": "shd-bids"}], "unknown"),
        ([{"Name": "shd-bids-tools", "Version": "1"}], None),
        ([{"Name": "qsiprep", "Version": "1.0.1"}], None),
    ],
)
def test_our_own_datasets_are_told_by_who_generated_them(generated_by, version):
    assert own_version({"GeneratedBy": generated_by}) == version
