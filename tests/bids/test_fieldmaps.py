"""A reverse-phase image is taken for the series that the dataset ties it to, and for no other."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shd_bids.bids.dataset import open_layout
from shd_bids.bids.series import collect_series
from shd_bids.errors import ConfigError

DWI = "sub-01_dir-AP"
PHASE = {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}


@pytest.fixture
def collect(make_skeleton):
    """Make a tree with fieldmaps, given their fields by name, and collect its series."""

    def run(stems: list[str], fieldmaps: dict, dwi_fields: dict | None = None, **options):
        root = make_skeleton({"01": stems})
        for stem in stems:
            (file,) = root.rglob(f"{stem}_dwi.json")
            file.write_text(json.dumps({"PhaseEncodingDirection": "j-", **(dwi_fields or {})}))
        for stem, fields in fieldmaps.items():
            add_fieldmap(root, stem, fields)
        return collect_series(open_layout(root, participant_labels=["01"]), "01", **options)

    return run


def add_fieldmap(root: Path, stem: str, fields: dict) -> None:
    session = [part for part in stem.split("_") if part.startswith("ses-")]
    folder = root.joinpath("sub-01", *session, "fmap")
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((6, 6, 4)), np.eye(4)), folder / f"{stem}_epi.nii.gz")
    (folder / f"{stem}_epi.json").write_text(json.dumps({**PHASE, **fields}))


def names(series) -> list[str]:
    return [fieldmap.epi_file.name for fieldmap in series.fieldmaps]


@pytest.mark.parametrize(
    "intended_for",
    [
        "bids::sub-01/dwi/sub-01_dir-AP_dwi.nii.gz",
        "dwi/sub-01_dir-AP_dwi.nii.gz",
        ["func/sub-01_bold.nii.gz", "dwi/sub-01_dir-AP_dwi.nii.gz"],
        ["bids::sub-01/dwi/sub-01_dir-AP_dwi.nii.gz"],
    ],
)
def test_a_file_intended_for_the_series_is_taken(collect, intended_for):
    (series,) = collect([DWI], {"sub-01_dir-PA": {"IntendedFor": intended_for}})
    (fieldmap,) = series.fieldmaps
    assert fieldmap.epi_file.name == "sub-01_dir-PA_epi.nii.gz"
    assert fieldmap.phase_encoding == ("j", 0.05)
    assert fieldmap.metadata["TotalReadoutTime"] == 0.05


@pytest.mark.parametrize("identifier", ["pepolar", ["other", "pepolar"]])
@pytest.mark.parametrize("source", ["pepolar", ["pepolar", "third"]])
def test_a_file_whose_identifier_is_the_source_of_the_series_is_taken(collect, identifier, source):
    fieldmaps = {
        "sub-01_dir-PA": {"B0FieldIdentifier": identifier},
        "sub-01_acq-b_dir-PA": {"B0FieldIdentifier": "another"},
    }
    (series,) = collect([DWI], fieldmaps, {"B0FieldSource": source})
    assert names(series) == ["sub-01_dir-PA_epi.nii.gz"]


def test_matching_identifiers_overrule_what_is_intended(collect):
    fieldmaps = {
        "sub-01_acq-a_dir-PA": {"B0FieldIdentifier": "pepolar"},
        "sub-01_acq-b_dir-PA": {"IntendedFor": "dwi/sub-01_dir-AP_dwi.nii.gz"},
    }
    (series,) = collect([DWI], fieldmaps, {"B0FieldSource": "pepolar"})
    assert names(series) == ["sub-01_acq-a_dir-PA_epi.nii.gz"]


def test_a_file_that_nothing_ties_is_named_with_the_field_to_add(collect, caplog):
    (series,) = collect([DWI], {"sub-01_dir-PA": {}})
    assert series.fieldmaps == ()
    assert "sub-01_dir-PA_epi.nii.gz is not used: nothing ties it to sub-01_dir-AP" in caplog.text
    assert '"IntendedFor": "bids::sub-01/dwi/sub-01_dir-AP_dwi.nii.gz"' in caplog.text


def test_a_file_for_other_images_is_passed_over_in_silence(collect, caplog):
    fields = {"IntendedFor": "dwi/sub-01_acq-y_dwi.nii.gz"}
    first, second = collect(["sub-01_acq-x", "sub-01_acq-y"], {"sub-01_dir-PA": fields})
    assert (names(first), names(second)) == ([], ["sub-01_dir-PA_epi.nii.gz"])
    assert "not used" not in caplog.text


def test_a_target_that_does_not_exist_is_named(collect, caplog):
    (series,) = collect([DWI], {"sub-01_dir-PA": {"IntendedFor": "dwi/sub-01_dwi.nii.gz"}})
    assert series.fieldmaps == ()
    assert "IntendedFor names" in caplog.text
    assert "sub-01_dwi.nii.gz, which does not exist" in caplog.text


def test_a_dataset_of_links_is_read_by_its_own_names(collect, tmp_path, caplog):
    collect([DWI], {"sub-01_dir-PA": {"IntendedFor": "dwi/sub-01_dir-AP_dwi.nii.gz"}})
    store = tmp_path / "annex"
    store.mkdir()
    for file in sorted((tmp_path / "bids").rglob("*.nii.gz")):
        file.rename(store / file.name)
        file.symlink_to(store / file.name)
    add_fieldmap(tmp_path / "bids", "sub-01_dir-AP", {})
    layout = open_layout(tmp_path / "bids", participant_labels=["01"])
    (series,) = collect_series(layout, "01")
    assert names(series) == ["sub-01_dir-PA_epi.nii.gz"]
    assert "bids::sub-01/dwi/sub-01_dir-AP_dwi.nii.gz" in caplog.text


def test_identifiers_hold_within_a_session(collect):
    fieldmaps = {f"sub-01_ses-{s}_dir-PA": {"B0FieldIdentifier": "pepolar"} for s in "ab"}
    series = collect(["sub-01_ses-a", "sub-01_ses-b"], fieldmaps, {"B0FieldSource": "pepolar"})
    assert [names(one) for one in series] == [
        ["sub-01_ses-a_dir-PA_epi.nii.gz"],
        ["sub-01_ses-b_dir-PA_epi.nii.gz"],
    ]


def test_a_file_may_be_intended_for_another_session(collect):
    fields = {"IntendedFor": "ses-b/dwi/sub-01_ses-b_dwi.nii.gz"}
    first, second = collect(["sub-01_ses-a", "sub-01_ses-b"], {"sub-01_ses-a_dir-PA": fields})
    assert (names(first), names(second)) == ([], ["sub-01_ses-a_dir-PA_epi.nii.gz"])


def test_a_file_of_unknown_or_crosswise_phase_encoding_is_not_used(collect, caplog):
    intended = {"IntendedFor": "dwi/sub-01_dir-AP_dwi.nii.gz"}
    fieldmaps = {
        "sub-01_dir-x": {**intended, "PhaseEncodingDirection": None},
        "sub-01_dir-LR": {**intended, "PhaseEncodingDirection": "i"},
    }
    (series,) = collect([DWI], fieldmaps)
    assert series.fieldmaps == ()
    assert "sub-01_dir-x_epi.nii.gz is not used: its phase encoding is not known" in caplog.text
    assert "sub-01_dir-LR_epi.nii.gz is not used: its phase encoding i is across" in caplog.text


def test_field_maps_of_other_kinds_are_found_in_their_session_and_not_used(make_skeleton):
    root = make_skeleton({"01": ["sub-01_ses-a", "sub-01_ses-b"]})
    for stem in ("ses-a_phasediff", "ses-a_magnitude1", "ses-b_fieldmap"):
        folder = root / "sub-01" / stem[:5] / "fmap"
        folder.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ones((6, 6, 4)), np.eye(4)), folder / f"sub-01_{stem}.nii.gz")
    first, second = collect_series(open_layout(root, participant_labels=["01"]), "01")
    assert first.fieldmaps == second.fieldmaps == ()
    assert [file.name for file in first.other_fieldmaps] == ["sub-01_ses-a_phasediff.nii.gz"]
    assert [file.name for file in second.other_fieldmaps] == ["sub-01_ses-b_fieldmap.nii.gz"]


def test_filters_choose_the_fieldmap(collect):
    intended = {"IntendedFor": "dwi/sub-01_dir-AP_dwi.nii.gz"}
    fieldmaps = {f"sub-01_acq-{name}_dir-PA": intended for name in "xy"}
    (series,) = collect([DWI], fieldmaps, filters={"fmap": {"acquisition": "y"}})
    assert names(series) == ["sub-01_acq-y_dir-PA_epi.nii.gz"]
    with pytest.raises(ConfigError, match=r"--bids-filter-file.*aquisition"):
        collect([DWI], fieldmaps, filters={"fmap": {"aquisition": "y"}})
