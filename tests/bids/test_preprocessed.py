"""Preprocessed series are found under all their names, with all that came with them."""

import json
import logging
from pathlib import Path

import pytest
from bids.layout import Query

from shd_bids.bids.dataset import select_participants
from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.preprocessed import find_preprocessed
from shd_bids.errors import BidsDataError, ConfigError

QSIPREP = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "QSIPrep", "Version": "1.0.1"}]}
GRADIENTS = (".b", ".bval", ".bvec")
ACPC = "sub-01/dwi/sub-01_space-ACPC_desc-preproc_dwi"


@pytest.fixture
def make_tree(tmp_path: Path):
    """Write empty files of the given names, images with gradients beside them."""

    def write(*names: str, description: dict | None = None, gradients=GRADIENTS) -> Path:
        root = tmp_path / "derivatives"
        for name in names:
            beside = ("", *gradients) if name.endswith("preproc_dwi.nii.gz") else ("",)
            for extension in beside:
                file = root / (name.removesuffix(".nii.gz") + extension if extension else name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        fields = {
            "Name": "x",
            "BIDSVersion": "1.9.0",
            **(QSIPREP if description is None else description),
        }
        (root / "dataset_description.json").write_text(json.dumps(fields))
        return root

    return write


def name_of(file: Path | None) -> str | None:
    return None if file is None else file.name


def test_qsiprep_writes_acpc(make_tree):
    stem = "sub-01/anat/sub-01"
    root = make_tree(
        f"{ACPC}.nii.gz",
        "sub-01/dwi/sub-01_space-ACPC_desc-brain_mask.nii.gz",
        "sub-01/dwi/sub-01_space-ACPC_dwiref.nii.gz",
        "sub-01/dwi/sub-01_desc-confounds_timeseries.tsv",
        "sub-01/dwi/sub-01_space-ACPC_desc-image_qc.tsv",
        f"{stem}_space-ACPC_desc-preproc_T1w.nii.gz",
        f"{stem}_space-ACPC_desc-brain_mask.nii.gz",
        f"{stem}_space-ACPC_dseg.nii.gz",
        f"{stem}_space-ACPC_desc-aseg_dseg.nii.gz",
        f"{stem}_from-ACPC_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        f"{stem}_from-MNI152NLin2009cAsym_to-ACPC_mode-image_xfm.h5",
        f"{stem}_from-anat_to-ACPC_mode-image_xfm.mat",
        "sub-01/figures/sub-01_desc-preproc_dwi.svg",
        "sub-01.html",
    )
    (root / f"{ACPC}.json").write_text('{"PhaseEncodingDirection": "j-"}')
    (series,) = find_preprocessed(root, "sub-01")
    assert (series.source_stem, series.space) == ("sub-01", "ACPC")
    assert (series.participant_label, series.session_label) == ("01", None)
    assert series.metadata == {"PhaseEncodingDirection": "j-"}
    assert name_of(series.mask_file) == "sub-01_space-ACPC_desc-brain_mask.nii.gz"
    assert name_of(series.confounds_file) == "sub-01_desc-confounds_timeseries.tsv"
    assert name_of(series.qc_file) == "sub-01_space-ACPC_desc-image_qc.tsv"
    anatomy = series.anatomy
    assert name_of(anatomy.t1w_file) == "sub-01_space-ACPC_desc-preproc_T1w.nii.gz"
    assert name_of(anatomy.mask_file) == "sub-01_space-ACPC_desc-brain_mask.nii.gz"
    assert name_of(anatomy.dseg_file) == "sub-01_space-ACPC_dseg.nii.gz"
    assert anatomy.template == "MNI152NLin2009cAsym"
    assert anatomy.to_template_file.name.startswith("sub-01_from-ACPC_to-MNI")
    assert anatomy.from_template_file.name.startswith("sub-01_from-MNI")
    assert anatomy.dseg_labels == {"CSF": 1, "GM": 2, "WM": 3}


def test_qsiprep_before_1_0_wrote_t1w(make_tree):
    root = make_tree(
        "sub-01/dwi/sub-01_acq-x_space-T1w_desc-preproc_dwi.nii.gz",
        "sub-01/dwi/sub-01_acq-x_space-T1w_desc-brain_mask.nii.gz",
        "sub-01/dwi/sub-01_acq-x_confounds.tsv",
        "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_dseg.nii.gz",
        "sub-01/anat/sub-01_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        "sub-01/anat/sub-01_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz",
    )
    (series,) = find_preprocessed(root, "01")
    assert (series.source_stem, series.space) == ("sub-01_acq-x", "T1w")
    assert name_of(series.mask_file) == "sub-01_acq-x_space-T1w_desc-brain_mask.nii.gz"
    assert name_of(series.confounds_file) == "sub-01_acq-x_confounds.tsv"
    assert name_of(series.anatomy.t1w_file) == "sub-01_desc-preproc_T1w.nii.gz"
    assert name_of(series.anatomy.dseg_file) == "sub-01_dseg.nii.gz"
    assert series.anatomy.from_template_file is None


def test_transforms_of_acpc_images_were_once_named_after_t1w(make_tree):
    stem = "sub-01/anat/sub-01"
    root = make_tree(
        f"{ACPC}.nii.gz",
        f"{stem}_space-ACPC_dseg.nii.gz",
        f"{stem}_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        f"{stem}_from-MNI152NLin2009cAsym_to-T1w_mode-image_xfm.h5",
        f"{stem}_from-orig_to-T1w_mode-image_xfm.txt",
    )
    anatomy = find_preprocessed(root, "01")[0].anatomy
    assert anatomy.to_template_file.name.startswith("sub-01_from-T1w_to-MNI")
    assert anatomy.from_template_file.name.startswith("sub-01_from-MNI")


def test_the_labels_of_other_pipelines_are_those_of_bids(make_tree):
    root = make_tree(
        f"{ACPC}.nii.gz",
        "sub-01/anat/sub-01_space-ACPC_dseg.nii.gz",
        description={"DatasetType": "derivative", "GeneratedBy": [{"Name": "other"}]},
    )
    anatomy = find_preprocessed(root, "01")[0].anatomy
    assert anatomy.dseg_labels == {"GM": 1, "WM": 2, "CSF": 3}


def test_probabilities_of_all_three_tissues_are_taken_before_labels(make_tree):
    stem = "sub-01/anat/sub-01_space-ACPC"
    files = [f"{ACPC}.nii.gz", f"{stem}_dseg.nii.gz", f"{stem}_label-WM_probseg.nii.gz"]
    anatomy = find_preprocessed(make_tree(*files), "01")[0].anatomy
    assert anatomy.tissue_files == (anatomy.dseg_file,)
    more = [f"{stem}_label-{tissue}_probseg.nii.gz" for tissue in ("CSF", "GM")]
    anatomy = find_preprocessed(make_tree(*files, *more), "01")[0].anatomy
    labels = [file.name.split("_")[2] for file in anatomy.tissue_files]
    assert labels == ["label-WM", "label-GM", "label-CSF"]


def test_a_dataset_without_space_label_has_no_anatomy_to_trust(make_tree, caplog):
    root = make_tree(
        "sub-01/dwi/sub-01_desc-preproc_dwi.nii.gz",
        "sub-01/dwi/sub-01_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
    )
    with caplog.at_level(logging.INFO):
        (series,) = find_preprocessed(root, "01")
    assert (series.space, series.anatomy) == (None, None)
    assert name_of(series.mask_file) == "sub-01_desc-brain_mask.nii.gz"
    assert "comes without anatomy in its space" in caplog.text


def test_acpc_is_preferred_and_a_filter_overrules_it(make_tree):
    names = [
        f"sub-01/dwi/sub-01{space}_desc-preproc_dwi.nii.gz"
        for space in ("", "_space-ACPC", "_space-T1w")
    ]
    root = make_tree(*names)
    (series,) = find_preprocessed(root, "01")
    assert series.space == "ACPC"
    (series,) = find_preprocessed(root, "01", filters={"dwi": {"space": "T1w"}})
    assert series.space == "T1w"
    (series,) = find_preprocessed(root, "01", filters={"dwi": {"space": Query.NONE}})
    assert series.space is None


def test_missing_companions_are_none(make_tree):
    (series,) = find_preprocessed(make_tree(f"{ACPC}.nii.gz"), "01")
    assert series.mask_file is series.confounds_file is series.qc_file is series.anatomy is None
    assert series.metadata == {}


def test_sessions_have_their_own_anatomy_before_the_participants(make_tree):
    root = make_tree(
        *(f"sub-01/ses-{s}/dwi/sub-01_ses-{s}_space-ACPC_desc-preproc_dwi.nii.gz" for s in "ab"),
        "sub-01/ses-a/anat/sub-01_ses-a_space-ACPC_desc-preproc_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_rec-x_from-orig_to-anat_mode-image_xfm.txt",
        "sub-01/anat/sub-01_space-ACPC_desc-preproc_T1w.nii.gz",
    )
    first, second = find_preprocessed(root, "01")
    assert (first.source_stem, second.source_stem) == ("sub-01_ses-a", "sub-01_ses-b")
    assert name_of(first.anatomy.t1w_file) == "sub-01_ses-a_space-ACPC_desc-preproc_T1w.nii.gz"
    assert name_of(second.anatomy.t1w_file) == "sub-01_space-ACPC_desc-preproc_T1w.nii.gz"
    (only,) = find_preprocessed(root, "01", session_labels=["ses-b"])
    assert only.session_label == "b"
    with pytest.raises(BidsDataError, match=r"No session c of participant 01 .* Found: a, b\."):
        find_preprocessed(root, "01", session_labels=["c"])


def test_an_anatomy_may_keep_the_name_of_its_acquisition(make_tree):
    root = make_tree(
        f"{ACPC}.nii.gz",
        "sub-01/anat/sub-01_acq-mprage_run-1_space-ACPC_desc-preproc_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-mprage_run-2_space-ACPC_desc-preproc_T1w.nii.gz",
    )
    (series,) = find_preprocessed(root, "01")
    expected = "sub-01_acq-mprage_run-1_space-ACPC_desc-preproc_T1w.nii.gz"
    assert name_of(series.anatomy.t1w_file) == expected


def test_companions_may_have_dropped_entities_but_not_gained_any(make_tree):
    stem = "sub-01/dwi/sub-01"
    root = make_tree(
        f"{stem}_acq-x_dir-AP_space-ACPC_desc-preproc_dwi.nii.gz",
        f"{stem}_acq-x_space-ACPC_desc-brain_mask.nii.gz",
        f"{stem}_space-ACPC_desc-brain_mask.nii.gz",
        f"{stem}_acq-y_dir-AP_space-ACPC_desc-brain_mask.nii.gz",
        f"{stem}_acq-x_dir-AP_run-1_desc-confounds_timeseries.tsv",
    )
    (series,) = find_preprocessed(root, "01")
    assert series.source_stem == "sub-01_acq-x_dir-AP"
    assert name_of(series.mask_file) == "sub-01_acq-x_space-ACPC_desc-brain_mask.nii.gz"
    assert series.confounds_file is None


def test_a_mask_in_another_space_is_not_taken(make_tree):
    root = make_tree(f"{ACPC}.nii.gz", "sub-01/dwi/sub-01_space-T1w_desc-brain_mask.nii.gz")
    (series,) = find_preprocessed(root, "01")
    assert series.mask_file is None


def test_acquisitions_are_series_of_their_own_and_filters_choose(make_tree):
    root = make_tree(
        *(
            f"sub-01/dwi/sub-01_acq-{a}_run-0{n}_space-ACPC_desc-preproc_dwi.nii.gz"
            for a, n in (("x", 1), ("y", 2))
        )
    )
    assert [one.source_stem for one in find_preprocessed(root, "01")] == [
        "sub-01_acq-x_run-01",
        "sub-01_acq-y_run-02",
    ]
    for query in ({"acquisition": "y"}, {"run": 2}, {"run": "02", "suffix": "dwi"}):
        (series,) = find_preprocessed(root, "01", filters={"dwi": query})
        assert series.entities["acq"] == "y"
    with pytest.raises(ConfigError, match=r"--bids-filter-file: no entity aquisition is known"):
        find_preprocessed(root, "01", filters={"dwi": {"aquisition": "y"}})


@pytest.mark.parametrize(
    ("description", "gradients", "convention", "files"),
    [
        (QSIPREP, GRADIENTS, "mrtrix", [".b"]),
        (QSIPREP, (".bval", ".bvec"), "image-axes", [".bval", ".bvec"]),
        (
            {"PipelineDescription": {"Name": "qsiprep"}},
            (".bval", ".bvec"),
            "image-axes",
            [".bval", ".bvec"],
        ),
        ({"DatasetType": "derivative"}, (".bval", ".bvec"), "fsl", [".bval", ".bvec"]),
        ({"GeneratedBy": [{"Name": "DESIGNER"}]}, GRADIENTS, "mrtrix", [".b"]),
    ],
)
def test_the_convention_of_gradients_follows_from_who_wrote_them(
    make_tree, caplog, description, gradients, convention, files
):
    root = make_tree(f"{ACPC}.nii.gz", description=description, gradients=gradients)
    with caplog.at_level(logging.INFO):
        (series,) = find_preprocessed(root, "01")
    assert series.gradients.convention == convention
    assert [file.suffix for file in series.gradients.files] == files
    assert series.gradients.reason in caplog.text


def test_missing_gradients_are_named_with_what_is_there(make_tree):
    root = make_tree(f"{ACPC}.nii.gz", gradients=(".bval",))
    message = r"no gradient table.*desc-preproc_dwi\.b, or .*\.bvec; found sub-01.*_dwi\.bval\."
    with pytest.raises(BidsDataError, match=message):
        find_preprocessed(root, "01")


def test_gradients_of_another_image_are_not_taken(make_tree):
    root = make_tree(f"{ACPC}.nii.gz")
    (root / "sub-01/dwi/sub-01_run-1_space-ACPC_desc-preproc_dwi.nii.gz").touch()
    with pytest.raises(BidsDataError, match=r"sub-01_run-1_.* has no gradient table"):
        find_preprocessed(root, "01")


def test_raw_data_are_told_from_preprocessed_data_with_what_was_searched(make_tree):
    root = make_tree("sub-01/dwi/sub-01_dwi.nii.gz", description={})
    assert not is_preprocessed(root)
    message = (
        r"No preprocessed diffusion images of participant 01 .* Searched for "
        r"sub-01/dwi/\*_desc-preproc_dwi.* and sub-01/ses-\*/dwi.*found in sub-01 are: "
        r"dwi/sub-01_dwi\.nii\.gz\..*--input-type raw"
    )
    with pytest.raises(BidsDataError, match=message):
        find_preprocessed(root, "01")


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (QSIPREP, True),
        ({"DatasetType": "derivative"}, True),
        ({"PipelineDescription": {"Name": "qsiprep"}}, True),
        ({"GeneratedBy": [{"Name": "qsiprep"}]}, True),
        ({"DatasetType": "raw", "GeneratedBy": [{"Name": "heudiconv"}]}, False),
        ({"GeneratedBy": [{"Name": "dcm2bids"}]}, False),
        ({}, False),
    ],
)
def test_the_description_tells_preprocessed_from_raw(make_tree, description, expected):
    assert is_preprocessed(make_tree(f"{ACPC}.nii.gz", description=description)) == expected


def test_participants_of_derivatives_are_selected_like_others(make_tree):
    root = make_tree(f"{ACPC}.nii.gz", "sub-01.html", "logs/CITATION.md")
    assert select_participants(root) == ["01"]
    with pytest.raises(BidsDataError, match=r"No participant 02 .* It holds 1: 01"):
        find_preprocessed(root, "02")


def test_names_that_are_not_understood_are_passed_over_in_words(make_tree, caplog):
    root = make_tree(
        f"{ACPC}.nii.gz",
        "sub-01/dwi/sub-01_colour-red_desc-preproc_dwi.nii.gz",
        "sub-01/dwi/sub-01_ses-a_desc-preproc_dwi.nii.gz",
    )
    (series,) = find_preprocessed(root, "01")
    assert series.space == "ACPC"
    assert "no entity colour is known" in caplog.text
    assert "its name and its folder disagree on ses-" in caplog.text


def test_a_sidecar_that_is_not_json_is_refused(make_tree):
    root = make_tree(f"{ACPC}.nii.gz")
    (root / f"{ACPC}.json").write_text("{")
    with pytest.raises(BidsDataError, match=r"desc-preproc_dwi\.json is not JSON"):
        find_preprocessed(root, "01")
