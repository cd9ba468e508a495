"""A series that QSIPrep has preprocessed, from its derivatives to fibre orientations."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from saved_files import broken_uris, sidecars

from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("preprocessed")
    phantom = make_phantom((18, 18, 14), 4.0, shells={0: 3, 1000: 16})
    write_qsiprep_tree(phantom, root / "qsiprep", anat_split=2)
    command = [
        *(sys.executable, "-m", "shd_bids.cli.run", root / "qsiprep", root / "out", "participant"),
        *("-w", root / "work", "--fod-model", "csd", "--lmax", 6, "--level", "fod"),
        *("--omp-nthreads", 1),
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "out"


def test_the_fodf_lies_on_the_grid_of_the_input_and_names_its_space(out):
    name = "sub-01_space-ACPC_model-csd_param-fod_label-WM_dwimap"
    fod = nib.load(out / f"sub-01/dwi/{name}.nii.gz")
    given = nib.load(out.parent / "qsiprep/sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi.nii.gz")
    assert fod.shape[:3] == given.shape[:3]
    np.testing.assert_allclose(fod.affine, given.affine, atol=1e-4)
    sidecar = json.loads((out / f"sub-01/dwi/{name}.json").read_text())
    source = "bids:raw:sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi.nii.gz"
    assert source in sidecar["Sources"]
    assert sidecar["GradientConvention"] == "mrtrix"
    quality = json.loads((out / "sub-01/dwi/sub-01_desc-image_qc.json").read_text())
    assert quality["GradientConventionReason"] == sidecar["GradientConventionReason"]
    assert quality["GradientCheck"]["Verdict"]


def test_mask_and_confounds_are_those_of_the_input_and_the_series_is_not_copied(out):
    mask, given = (
        nib.load(folder / "sub-01/dwi/sub-01_space-ACPC_desc-brain_mask.nii.gz").get_fdata()
        for folder in (out, out.parent / "qsiprep")
    )
    np.testing.assert_array_equal(mask, given)
    confounds = "sub-01/dwi/sub-01_desc-confounds_timeseries.tsv"
    assert (out / confounds).read_text() == (out.parent / "qsiprep" / confounds).read_text()
    assert not list(out.rglob("*desc-preproc_dwi*"))


def test_every_sidecar_leads_to_files_that_exist_and_describes_its_columns(out):
    assert broken_uris(out, {"raw": out.parent / "qsiprep"}) == []
    for path, sidecar in sidecars(out).items():
        if path.endswith(".tsv"):
            header = (out / path).read_text().splitlines()[0]
            assert set(header.split("\t")) <= set(sidecar), path
    confounds = json.loads((out / "sub-01/dwi/sub-01_desc-confounds_timeseries.json").read_text())
    assert "grad_x" not in confounds  # the table is QSIPrep's, so are its columns


def test_the_output_names_the_program_that_preprocessed(out):
    ours, theirs = json.loads((out / "dataset_description.json").read_text())["GeneratedBy"]
    assert ours["Name"] == "shd-bids"
    assert theirs["Name"] == "qsiprep"


def test_the_tissue_map_is_taken_over_onto_the_grid_of_the_series(out):
    given = out.parent / "qsiprep/sub-01"
    image = nib.load(out / "sub-01/anat/sub-01_space-ACPC_probseg.nii.gz")
    dwi = nib.load(given / "dwi/sub-01_space-ACPC_desc-preproc_dwi.nii.gz")
    assert image.shape == (*dwi.shape[:3], 3)
    np.testing.assert_allclose(image.affine, dwi.affine, atol=1e-4)
    dseg = nib.load(given / "anat/sub-01_space-ACPC_dseg.nii.gz")
    fine_mm3, coarse_mm3 = (abs(np.linalg.det(one.affine[:3, :3])) for one in (dseg, dwi))
    for index, label in enumerate((3, 2, 1)):  # white matter, grey matter, fluid of QSIPrep
        volume = (np.asarray(dseg.dataobj) == label).sum() * fine_mm3
        assert image.get_fdata()[..., index].sum() * coarse_mm3 == pytest.approx(volume, rel=0.01)


def test_the_sidecar_says_where_the_tissue_map_and_the_transforms_lie(out):
    sidecar = json.loads((out / "sub-01/anat/sub-01_space-ACPC_probseg.json").read_text())
    folder = "bids:raw:sub-01/anat/sub-01"
    assert sidecar["Sources"] == [f"{folder}_space-ACPC_dseg.nii.gz"]
    assert sidecar["SourceLabels"] == {"CSF": 1, "GM": 2, "WM": 3}
    assert sidecar["LabelMap"] == ["WM", "GM", "CSF"]
    template = "MNI152NLin2009cAsym"
    assert sidecar["Transforms"] == {
        "Template": template,
        "ToTemplate": f"{folder}_from-ACPC_to-{template}_mode-image_xfm.h5",
        "FromTemplate": f"{folder}_from-{template}_to-ACPC_mode-image_xfm.h5",
    }
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    assert links["raw"].endswith("/qsiprep")
    mask = json.loads((out / "sub-01/anat/sub-01_space-ACPC_desc-T1w_mask.json").read_text())
    assert mask["Sources"] == [f"{folder}_space-ACPC_desc-brain_mask.nii.gz"]


def test_nothing_is_registered(out):
    assert list((out.parent / "work").rglob("tissue_to_dwi"))
    for step in ("register_to_dwi", "register_to_template", "segment_tissue", "skull_strip"):
        assert not list((out.parent / "work").rglob(step))
    assert not list((out / "sub-01/anat").glob("*_xfm*"))


def test_the_page_shows_the_tissues_and_names_what_was_taken_over(out):
    table = (out / "sub-01/figures/sub-01_desc-preprocessing_dwi.html").read_text()
    for file in (
        "sub-01_space-ACPC_dseg.nii.gz",
        "sub-01_from-ACPC_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        "sub-01_from-MNI152NLin2009cAsym_to-ACPC_mode-image_xfm.h5",
    ):
        assert file in table
    page = (out / "sub-01.html").read_text()
    assert "sub-01_desc-anatomy_dwi.png" in page
    assert "sub-01_desc-coregistration_dwi.png" in page
    assert "nothing was registered" in (out / "logs/CITATION.md").read_text()


def test_the_page_says_whose_gradients_they_are(out):
    page = (out / "sub-01/figures/sub-01_desc-preprocessing_dwi.html").read_text()
    assert "nothing was resampled" in page
    assert "sub-01_space-ACPC_desc-preproc_dwi.b" in page
