"""Sidecars and the dataset's own files say what BIDS asks for."""

import json
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.bids.description import dataset_description, write_dataset_files
from shd_bids.bids.files import write_json, write_text
from shd_bids.bids.names import derivative_path
from shd_bids.bids.sidecars import (
    bids_uri,
    fodf_sidecar,
    generic_sidecar,
    model_sidecar,
    response_sidecar,
    tractogram_sidecar,
)

SAID = {"sources": ["bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"], "version": "0.1.0"}
RESPONSE = {"bvals": [0.0, 1000.0], "coefficients": [[3.5], [2.0, -0.5]]}
FODF = {"response_bvals": [0.0, 1000.0], "response_coefficients": [[3.5], [2.0, -0.5]], **SAID}
ROW = " ".join(["0"] * 20) + "\n"
TEXTS = {".bval": ROW, ".bvec": 3 * ROW, ".tsv": "a\tb\n1\t2\n"}


def describe(**options):
    options = {"links": {"raw": Path("/data")}, "input_description": {}} | options
    return dataset_description(version="0.1.0", **options)


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


@pytest.mark.needs_tool("bids-validator-deno")
@pytest.mark.parametrize("source", [{"sub": "01"}, {"sub": "01", "ses": "a", "acq": "hi"}])
def test_the_validator_finds_no_error_in_a_full_output(tmp_path, source):
    write_dataset_files(tmp_path, describe())
    general = generic_sidecar(description="Something.", **SAID)
    for fields, extensions, sidecar in _all_outputs(general):
        for extension in extensions:
            file = tmp_path / derivative_path(source, extension=extension, **fields)
            file.parent.mkdir(parents=True, exist_ok=True)
            if extension == ".nii.gz":
                n_volume = (20,) if fields["suffix"] == "dwi" else ()
                nib.save(nib.Nifti1Image(np.ones((4, 4, 4, *n_volume)), np.eye(4)), file)
            else:
                write_text(file, TEXTS.get(extension, "0 1\n"))
        write_json(tmp_path / derivative_path(source, extension=".json", **fields), sidecar)
    for name in ("sub-01.html", "logs/CITATION.md", "sub-01/log/1/shd-bids.toml"):
        write_text(tmp_path / name, "text")
    figure = derivative_path(
        source, datatype="figures", desc="mask", suffix="dwi", extension=".svg"
    )
    write_text(tmp_path / figure, "<svg/>")
    command = ["bids-validator-deno", "--format", "json", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    issues = json.loads(output)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def _all_outputs(general):
    space = {"space": "orig"}
    model = {"space": "orig", "model": "shdtv"}
    dwi = general | {"SkullStripped": False}
    yield space | {"desc": "preproc", "suffix": "dwi"}, [".nii.gz", ".bval", ".bvec"], dwi
    yield space | {"desc": "brain", "suffix": "mask"}, [".nii.gz"], general | {"Type": "Brain"}
    yield {"desc": "confounds", "suffix": "timeseries"}, [".tsv"], general
    yield {"desc": "image", "suffix": "qc"}, [".tsv"], general
    for tissue, lmax in (("WM", 8), ("GM", 0), ("CSF", 0)):
        lobe = np.geomspace(1.0, 0.5, 5).tolist() if lmax else None
        fodf = fodf_sidecar(model="shdtv", tissue=tissue, lmax=lmax, fibre_lobe=lobe, **FODF)
        response = response_sidecar(tissue=tissue, method="Given.", **RESPONSE, **SAID)
        label = model | {"label": tissue, "suffix": "dwimap"}
        yield label | {"param": "fod"}, [".nii.gz"], fodf
        yield label | {"param": "response"}, [".txt"], response
    for param in ("peaks", "afd", "nufo", "gfa", "rmse", "dec", "tdi"):
        yield model | {"param": param, "suffix": "dwimap"}, [".nii.gz"], general
    shells = {"lmax": 8, "tissues": ["WM"], "shell_bvals": [0.0, 1000.0]}
    weights = model_sidecar(model="shdtv", **shells, **SAID)
    yield model | {"desc": "weights", "suffix": "model"}, [".safetensors"], weights
    tracks = tractogram_sidecar(method="probabilistic", n_streamlines=3, **SAID)
    track = model | {"track": "probabilistic", "suffix": "tractogram"}
    yield track, [".tck", ".trx"], tracks
    yield model | {"seg": "4S156", "desc": "count", "suffix": "connectivity"}, [".tsv"], general
