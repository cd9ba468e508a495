"""The message of a failure is what its last exception said."""

import pytest
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
