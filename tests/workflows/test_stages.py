"""Time and memory are told by stage."""

import re

import pytest
from shd_workflows.stages import stage_of, usage_tables
from shd_workflows.usage import StepUse

ROOT = "shd_bids_wf.sub_01_wf.dwi_ses_a_wf"
STEPS = {
    f"{ROOT}.preproc_wf.denoise_dwi": StepUse(60.0, 1.5, 2.0),
    f"{ROOT}.preproc_report_wf.plot_mask": StepUse(1.0, 0.2, 0.5),
    f"{ROOT}.csd_wf.fit_fodf": StepUse(7.0, 0.7, 0.8),
    f"{ROOT}.shdtv_wf.fit_fodf": StepUse(3600.0, None, 4.0),
    f"{ROOT}.preproc_wf.geometry_wf.resample_dwi": StepUse(30.0, 0.9, 3.0),
}


def rows(html: str) -> list[list[str]]:
    return [re.findall(r"<td.*?>(.*?)</td>", row) for row in html.split("<tr>")]


def test_stages_stand_in_the_order_of_the_data_with_sums_and_peaks():
    html = usage_tables(STEPS, {name: name.removeprefix(ROOT) for name in STEPS})
    stages, steps = html.split("<details>")
    assert rows(stages)[2:] == [
        ["Preprocessing", "2", "1 min 30 s", "1.5", "3"],
        ["CSD", "1", "7.0 s", "0.7", "0.8"],
        ["SHD-TV", "1", "1 h 0 min", "not known", "4"],
        ["Figures", "1", "1.0 s", "0.2", "0.5"],
        ["all", "5", "1 h 1 min", "1.5", "4"],
    ]
    assert len(rows(steps)) == 2 + len(STEPS)


def test_who_has_no_steps_is_told_so():
    assert usage_tables({}, {}) == "<p>No step was run.</p>"


@pytest.mark.parametrize(
    ("node", "stage"),
    [
        ("write_quality", "Preprocessing"),
        ("anat_wf.segment_tissue", "Anatomy"),
        ("atlas_Schaefer_wf.bring_atlas", "Atlases"),
        ("space_T1w_derivatives_wf.ds_maps", "Files"),
        ("space_T1w_wf.bring_mask", "Other spaces"),
        ("rumbatv_wf.find_peaks", "RUMBA-SD + TV"),
        ("tractography_wf.track_streamlines", "Tractography"),
    ],
)
def test_every_step_has_a_stage(node, stage):
    assert stage_of(f"{ROOT}.{node}") == stage
