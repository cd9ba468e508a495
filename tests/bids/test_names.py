"""Outputs are called what the design says."""

import pytest

from shd_bids.bids.names import derivative_path, entity_stem

SOURCE = {"sub": "01", "ses": "a", "acq": "hi"}


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (
            {"space": "orig", "desc": "preproc", "suffix": "dwi", "extension": ".nii.gz"},
            "space-orig_desc-preproc_dwi.nii.gz",
        ),
        (
            {"desc": "confounds", "suffix": "timeseries", "extension": ".tsv"},
            "desc-confounds_timeseries.tsv",
        ),
        (
            {"label": "WM", "param": "response", "model": "csd", "space": "orig"}
            | {"suffix": "dwimap", "extension": ".txt"},
            "space-orig_model-csd_param-response_label-WM_dwimap.txt",
        ),
        (
            {"track": "probabilistic", "model": "shdtv", "space": "orig"}
            | {"suffix": "tractogram", "extension": ".tck"},
            "space-orig_model-shdtv_track-probabilistic_tractogram.tck",
        ),
        (
            {"space": "orig", "model": "shdtv", "desc": "weights"}
            | {"suffix": "model", "extension": ".safetensors"},
            "space-orig_model-shdtv_desc-weights_model.safetensors",
        ),
    ],
)
def test_names_follow_the_design(extra, name):
    expected = f"sub-01/ses-a/dwi/sub-01_ses-a_acq-hi_{name}"
    assert derivative_path(SOURCE, **extra).as_posix() == expected


def test_figures_lie_in_the_folder_of_the_participant():
    path = derivative_path(SOURCE, datatype="figures", desc="mask", suffix="dwi", extension=".svg")
    assert path.as_posix() == "sub-01/figures/sub-01_ses-a_acq-hi_desc-mask_dwi.svg"


def test_the_order_of_arguments_does_not_matter():
    assert entity_stem({"desc": "x", "acq": "y", "sub": "01"}) == "sub-01_acq-y_desc-x"


def test_an_unknown_entity_is_refused():
    with pytest.raises(ValueError, match=r"No place in a name for \['colour'\]"):
        entity_stem({"sub": "01", "colour": "red"})


def test_a_label_with_a_hyphen_is_refused():
    with pytest.raises(
        ValueError, match=r"label of model must be letters and digits, not 'shd-tv'"
    ):
        entity_stem({"sub": "01", "model": "shd-tv"})
