"""Images become series: merged where they belong together, apart where they do not."""

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids.layout import Query

from shd_bids.bids.dataset import open_layout
from shd_bids.bids.series import collect_series
from shd_bids.errors import BidsDataError, ConfigError


@pytest.fixture
def collect(make_skeleton):
    """Make a tree of one participant, change it, and collect its series."""

    def run(stems: list[str], change=None, **options):
        root = make_skeleton({"01": stems})
        if change is not None:
            change(root)
        return collect_series(open_layout(root, participant_labels=["01"]), "01", **options)

    return run


def image_names(runs) -> list[str]:
    return [run.dwi_file.name for run in runs]


def set_bvals(root: Path, stem: str, bvals: list[int]) -> None:
    (file,) = root.rglob(f"{stem}_dwi.bval")
    file.write_text(" ".join(map(str, bvals)))


def test_one_image_is_one_series(collect):
    (series,) = collect(["sub-01"])
    assert series.source_stem == "sub-01"
    assert (series.participant_label, series.session_label) == ("01", None)
    assert series.runs[0].metadata == {"RepetitionTime": 3.0}
    assert series.runs[0].bval_file.name == "sub-01_dwi.bval"
    assert series.runs[0].bvec_file.name == "sub-01_dwi.bvec"


def test_runs_are_merged_and_their_number_is_dropped(collect):
    (series,) = collect(["sub-01_ses-a_run-02", "sub-01_ses-a_run-01"])
    expected = ["sub-01_ses-a_run-01_dwi.nii.gz", "sub-01_ses-a_run-02_dwi.nii.gz"]
    assert image_names(series.runs) == expected
    assert series.source_stem == "sub-01_ses-a"


def test_a_single_run_keeps_its_number(collect):
    (series,) = collect(["sub-01_run-01"])
    assert series.source_stem == "sub-01_run-01"


def test_sessions_and_acquisitions_stay_apart(collect):
    series = collect(["sub-01_ses-a_acq-x", "sub-01_ses-a_acq-y", "sub-01_ses-b_acq-x"])
    stems = ["sub-01_ses-a_acq-x", "sub-01_ses-a_acq-y", "sub-01_ses-b_acq-x"]
    assert [one.source_stem for one in series] == stems


def test_only_the_sessions_asked_for_are_collected(collect):
    (series,) = collect(["sub-01_ses-a", "sub-01_ses-b"], session_labels=["ses-b"])
    assert series.session_label == "b"


def test_runs_of_different_grids_are_refused(collect):
    def enlarge(root: Path) -> None:
        file = root / "sub-01" / "dwi" / "sub-01_run-2_dwi.nii.gz"
        nib.save(nib.Nifti1Image(np.ones((5, 4, 3, 13), np.int16), np.eye(4)), file)

    with pytest.raises(BidsDataError, match=r"run-1.*\(6, 6, 4\).*run-2.*\(5, 4, 3\).*matrices"):
        collect(["sub-01_run-1", "sub-01_run-2"], enlarge)


def test_an_opposite_b0_image_is_kept_for_distortion(collect):
    def only_b0(root: Path) -> None:
        set_bvals(root, "sub-01_dir-AP", [0] * 13)

    (series,) = collect(["sub-01_dir-AP", "sub-01_dir-PA"], only_b0)
    assert image_names(series.runs) == ["sub-01_dir-PA_dwi.nii.gz"]
    assert image_names(series.reverse_phase_runs) == ["sub-01_dir-AP_dwi.nii.gz"]
    assert series.source_stem == "sub-01_dir-PA"


def test_full_sets_of_opposite_directions_are_not_merged(collect):
    stems = [f"sub-01_dir-{direction}_run-{run}" for direction in ("AP", "PA") for run in (1, 2)]
    (series,) = collect(stems)
    assert len(series.runs) == len(series.reverse_phase_runs) == 2
    assert series.entities == {"sub": "01", "dir": "AP"}


def test_full_sets_of_opposite_directions_are_merged_where_distortion_is_corrected(collect):
    stems = [f"sub-01_dir-{direction}_run-{run}" for direction in ("AP", "PA") for run in (1, 2)]
    (series,) = collect(stems, merge_opposite=True)
    assert image_names(series.runs) == [f"{stem}_dwi.nii.gz" for stem in stems]
    assert [run.phase_encoding.direction for run in series.runs] == ["j-", "j-", "j", "j"]
    assert series.reverse_phase_runs == ()
    assert series.entities == {"sub": "01"}


def test_an_opposite_b0_image_is_never_merged(collect):
    (series,) = collect(
        ["sub-01_dir-AP", "sub-01_dir-PA"],
        lambda root: set_bvals(root, "sub-01_dir-PA", [0] * 13),
        merge_opposite=True,
    )
    assert image_names(series.reverse_phase_runs) == ["sub-01_dir-PA_dwi.nii.gz"]
    assert series.source_stem == "sub-01_dir-AP"


def test_opposite_directions_on_another_grid_are_kept_for_distortion(collect, caplog):
    def enlarge(root: Path) -> None:
        file = root / "sub-01" / "dwi" / "sub-01_dir-PA_dwi.nii.gz"
        nib.save(nib.Nifti1Image(np.ones((5, 4, 3, 13), np.int16), np.eye(4)), file)

    (series,) = collect(["sub-01_dir-AP", "sub-01_dir-PA"], enlarge, merge_opposite=True)
    assert image_names(series.reverse_phase_runs) == ["sub-01_dir-PA_dwi.nii.gz"]
    assert "opposite phase encoding are not merged" in caplog.text


def test_runs_whose_labels_say_nothing_of_phase_are_not_merged(collect, caplog):
    (series,) = collect(["sub-01_dir-1", "sub-01_dir-2"])
    assert image_names(series.runs) == ["sub-01_dir-1_dwi.nii.gz"]
    assert "sub-01_dir-2_dwi.nii.gz: left out" in caplog.text


def test_a_label_and_a_sidecar_may_be_opposite(collect):
    def state(root: Path) -> None:
        file = root / "sub-01" / "dwi" / "sub-01_dir-AP_dwi.json"
        file.write_text(json.dumps({"PhaseEncodingDirection": "j-"}))

    (series,) = collect(["sub-01_dir-AP", "sub-01_dir-PA"], state)
    assert image_names(series.reverse_phase_runs) == ["sub-01_dir-PA_dwi.nii.gz"]


def test_the_sidecar_says_more_than_the_name(collect):
    def state(root: Path) -> None:
        for run, direction in ((1, "j"), (2, "j-")):
            file = root / "sub-01" / "dwi" / f"sub-01_run-{run}_dwi.json"
            file.write_text(json.dumps({"PhaseEncodingDirection": direction}))

    (series,) = collect(["sub-01_run-1", "sub-01_run-2"], state)
    assert image_names(series.runs) == ["sub-01_run-1_dwi.nii.gz"]
    assert image_names(series.reverse_phase_runs) == ["sub-01_run-2_dwi.nii.gz"]


def test_a_crosswise_image_is_left_out_with_a_warning(collect, caplog):
    with caplog.at_level(logging.WARNING):
        (series,) = collect(["sub-01_dir-AP", "sub-01_dir-LR"])
    assert series.reverse_phase_runs == ()
    assert "sub-01_dir-LR_dwi.nii.gz: left out" in caplog.text


def test_phase_images_are_left_out(collect):
    (series,) = collect(["sub-01_part-mag", "sub-01_part-phase"])
    assert image_names(series.runs) == ["sub-01_part-mag_dwi.nii.gz"]


def test_gradients_are_inherited_from_the_root(collect):
    def move_up(root: Path) -> None:
        for kind in ("bval", "bvec"):
            (root / "sub-01" / "dwi" / f"sub-01_dwi.{kind}").rename(root / f"dwi.{kind}")

    (series,) = collect(["sub-01"], move_up)
    assert series.runs[0].bval_file.name == "dwi.bval"
    assert series.runs[0].bvec_file.name == "dwi.bvec"


@pytest.mark.parametrize("kind", ["bval", "bvec"])
def test_a_missing_gradient_file_is_named(collect, kind):
    def remove(root: Path) -> None:
        (root / "sub-01" / "dwi" / f"sub-01_dwi.{kind}").unlink()

    with pytest.raises(
        BidsDataError, match=rf"has no .{kind} file: searched for sub-01_dwi.{kind}"
    ):
        collect(["sub-01"], remove)


def test_a_participant_without_diffusion_images_is_told_what_was_searched(collect):
    def only_t1w(root: Path) -> None:
        (root / "sub-01" / "anat").mkdir(parents=True)
        (root / "sub-01" / "anat" / "sub-01_T1w.nii.gz").touch()

    message = r"No diffusion images of participant 01.*suffix=dwi.*found there are: sub-01_T1w"
    with pytest.raises(BidsDataError, match=message):
        collect([], only_t1w)


def test_filters_choose_the_acquisition(collect):
    stems = ["sub-01_acq-x", "sub-01_acq-y", "sub-01"]
    (series,) = collect(stems, filters={"dwi": {"acquisition": "y"}})
    assert series.source_stem == "sub-01_acq-y"
    (series,) = collect(stems, filters={"dwi": {"acquisition": Query.NONE}})
    assert series.source_stem == "sub-01"


def test_a_filter_on_an_unknown_entity_is_refused(collect):
    with pytest.raises(ConfigError, match=r"--bids-filter-file.*aquisition"):
        collect(["sub-01"], filters={"dwi": {"aquisition": "y"}})


def test_the_t1w_of_the_same_session_comes_first(collect):
    def add_anatomy(root: Path) -> None:
        for session in ("a", "b"):
            folder = root / "sub-01" / f"ses-{session}" / "anat"
            folder.mkdir()
            (folder / f"sub-01_ses-{session}_T1w.nii.gz").touch()

    first, second = collect(["sub-01_ses-a", "sub-01_ses-b"], add_anatomy)
    assert first.t1w_file.name == "sub-01_ses-a_T1w.nii.gz"
    assert second.t1w_file.name == "sub-01_ses-b_T1w.nii.gz"


def test_real_datasets_give_one_series_each(shared_data):
    for name in ("ds000114-trunc-4mm", "nlsam-invivo-1p8mm", "tractor-12dir", "mrtrix3-msmt-crop"):
        layout = open_layout(shared_data / name, participant_labels=["01"])
        assert len(collect_series(layout, "01")) == 1
