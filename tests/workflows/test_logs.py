"""What is said of a failure, and in whose log it stands."""

import logging

import pytest
from shd_workflows.logs import set_up_logging
from shd_workflows.plugin import _last_error, readable_name


@pytest.mark.parametrize(
    ("traceback", "message"),
    [
        ("Traceback\n  File x\nshd_bids.errors.ImageError: a.nii is empty.\n", "a.nii is empty."),
        (
            "x.NodeExecutionError: Exception raised while executing Node a.\n\nTraceback:\n"
            "\tTraceback (most recent call last):\n\t  raise\n"
            "\tshd_bids.errors.ImageError: The affine is singular:\n\t[[0 0]\n\t [0 0]]\n",
            "The affine is singular: [[0 0] [0 0]]",
        ),
        ("KeyError: 'WM'\n", "'WM'"),
        ("MemoryError\n", "MemoryError"),
        ("", "no reason was given"),
    ],
)
def test_the_last_error_of_a_traceback_is_found(traceback, message):
    assert _last_error(traceback) == message


def test_names_of_nodes_are_shortened_for_the_reader():
    name = "shd_bids_wf.sub_01_wf.dwi_wf.preproc_wf.denoise_dwi"
    assert readable_name(name) == "sub_01 dwi preproc denoise_dwi"


def test_what_names_a_participant_is_in_no_other_log(tmp_path, capsys):
    files = {f"sub_{label}_wf": tmp_path / f"{label}.log" for label in ("1", "10", "1_plus_a")}
    said = {
        "1": [readable_name("shd_bids_wf.sub_1_wf.dwi_wf.denoise"), "sub-1_dwi.nii.gz", "sub_1_wf"],
        "10": ["shd_bids_wf.sub_10_wf.dwi_wf", "sub-10 stops"],
        "1_plus_a": ["sub-1+a stops", readable_name("shd_bids_wf.sub_1_plus_a_wf.dwi_wf.denoise")],
    }
    set_up_logging(verbosity=0, log_files=files)
    logger = logging.getLogger("shd_workflows.test")
    try:
        for lines in said.values():
            for line in lines:
                logger.info("%s: started", line)
        logger.info("Beside sub-99, for all in /scratch/sub-1/x.")
        logger.info("sub-1 and sub-10 are running.")
    finally:
        set_up_logging(verbosity=0, log_files={})
    capsys.readouterr()
    for label, lines in said.items():
        found = [
            line.partition("test: ")[2]
            for line in files[f"sub_{label}_wf"].read_text().splitlines()
        ]
        assert found == [
            *(f"{line}: started" for line in lines),
            "Beside sub-99, for all in /scratch/sub-1/x.",
        ]
