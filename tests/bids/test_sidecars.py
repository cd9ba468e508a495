"""Sidecars say what BIDS asks for."""

from pathlib import Path

from shd_bids.bids.sidecars import (
    bids_uri,
    fodf_sidecar,
)

SAID = {"sources": ["bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"], "version": "0.1.0"}
RESPONSE = {"bvals": [0.0, 1000.0], "coefficients": [[3.5], [2.0, -0.5]]}
FODF = {"response_bvals": [0.0, 1000.0], "response_coefficients": [[3.5], [2.0, -0.5]], **SAID}


def test_an_fodf_names_its_basis_in_both_spellings():
    encoding = fodf_sidecar(model="csd", tissue="WM", lmax=8, **FODF)["OrientationEncoding"]
    assert encoding["SphericalHarmonicBasis"] == encoding["SphericalHarmonicsBasis"] == "mrtrix3"
    assert encoding["SphericalHarmonicDegree"] == encoding["SphericalHarmonicsDegree"] == 8
    assert (encoding["Type"], encoding["Reference"]) == ("sh", "xyz")


def test_response_rows_are_padded_with_zeros():
    fields = fodf_sidecar(model="csd", tissue="WM", lmax=8, **FODF)["ResponseFunction"]
    assert fields["Coefficients"] == [[3.5, 0.0], [2.0, -0.5]]


def test_an_fodf_of_lobes_says_so():
    fields = fodf_sidecar(model="shdtv", tissue="WM", lmax=2, fibre_lobe=[1.0, 0.5], **FODF)
    assert fields["FibreLobe"] == [1.0, 0.5]
    assert "apodised delta function" in fields["Description"]


def test_an_isotropic_tissue_is_a_scalar():
    fields = fodf_sidecar(model="shdtv", tissue="CSF", lmax=0, **FODF)
    assert fields["OrientationEncoding"]["Type"] == "scalar"


def test_sources_are_bids_uris(tmp_path):
    links = {"raw": tmp_path / "in", "qsiprep": tmp_path / "derived"}
    roots = {"links": links, "output_dir": tmp_path / "out"}
    inside = tmp_path / "in" / "sub-01" / "dwi" / "x.nii.gz"
    assert bids_uri(inside, **roots) == "bids:raw:sub-01/dwi/x.nii.gz"
    assert bids_uri(tmp_path / "out" / "x.nii.gz", **roots) == "bids::x.nii.gz"
    assert bids_uri(tmp_path / "derived" / "x.b", **roots) == "bids:qsiprep:x.b"
    assert bids_uri(Path("/elsewhere/x"), **roots) == "file:///elsewhere/x"
