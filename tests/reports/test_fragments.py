"""Tables and notes: what a file says is shown, never run."""

import re

import numpy as np
import pytest

from shd_bids.reports.crashes import crash_fragment, crash_message
from shd_bids.reports.fragments import (
    alert,
    configuration_block,
    data_table,
    duration,
    fact_table,
    fit_headings,
    fold,
    note,
    shells_table,
    state_line,
    wrap_tables,
)

HOSTILE = '<script>alert("x")</script> & more'


@pytest.mark.parametrize(
    "html",
    [
        fact_table({HOSTILE: HOSTILE}),
        data_table([HOSTILE], [[HOSTILE]]),
        fold(HOSTILE, ""),
        configuration_block(HOSTILE),
        note(HOSTILE),
        alert(HOSTILE, "danger"),
        state_line([HOSTILE]),
    ],
)
def test_text_is_escaped(html):
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&amp; more" in html


def test_a_crash_file_is_escaped_and_may_hold_anything(tmp_path):
    (tmp_path / "crash-1.txt").write_bytes(HOSTILE.encode() + b"\xff\xfe")
    (tmp_path / "crash-2.txt").write_bytes(b"")
    (tmp_path / "crash-3.pklz").write_bytes(b"\x80")
    html = crash_fragment(tmp_path)
    assert "3 steps failed" in html
    assert "<script>" not in html
    assert "The crash file is empty." in html
    assert "crash-3.pklz" in html


def test_every_crash_says_first_what_went_wrong_then_where(tmp_path):
    for name, message in (("fit", "MemoryError"), ("mask", "shd_bids.errors.MaskError: No brain.")):
        (tmp_path / f"crash-20260101-{name}.txt").write_text(
            f"Node: shd_bids_wf.sub_01_wf.dwi_wf.{name}_wf.{name}\nWorking directory: /w\n\n"
            f"Node inputs:\n\nin_file = a.nii\n\nTraceback (most recent call last):\n"
            f'  File "x.py", line 3\n{message}\n\n'
        )
    (tmp_path / "crash-planning.txt").write_text(
        "Node: planning\n\nTraceback:\nshd_bids.errors.BidsDataError: sub-01 has no dwi.\n"
    )
    alert_line, *crashes = crash_fragment(tmp_path).split('<div class="crash">')
    assert "3 steps failed, and what depends on them was not run." in alert_line
    first = [
        re.findall(r"<strong>(.*?)</strong>.*?Step: (.*?)(?: <small>.*?)?</p>", c, re.S)[0]
        for c in crashes
    ]
    assert first == [
        ("MemoryError", "sub_01, dwi, fit, fit"),
        ("MaskError: No brain.", "sub_01, dwi, mask, mask"),
        ("BidsDataError: sub-01 has no dwi.", "planning"),
    ]
    assert all(crash.count("<details>") == 2 for crash in crashes)
    assert "in_file" not in re.search(r"Traceback</summary>(.*?)</details>", crashes[0], re.S)[1]


def test_no_folder_of_crashes_means_no_errors(tmp_path):
    assert "No errors" in crash_fragment(tmp_path / "absent")


def test_the_message_of_a_crash_is_its_error_not_the_line_after_it():
    text = "Traceback\n  File x\nshd_bids.errors.MaskError: The mask is empty.\n\nkeys: 3\n"
    assert crash_message(text) == "MaskError: The mask is empty."


def test_the_shells_table_says_which_degree_the_directions_carry():
    html = shells_table(np.array([0.0, 1000.0, 3000.0]), np.array([1, 30, 90]))
    assert "reference signal" in html
    assert "up to degree 6" in html
    assert "up to degree 10" in html


def test_times_add_up_to_the_total():
    assert duration(7260.0) == "2 h 1 min"


def test_a_failed_participant_says_so_and_leads_to_the_errors():
    html = state_line(["The mask is empty.", "Nothing was fitted."])
    assert '<span class="light light-poor">failed</span>' in html
    assert "The mask is empty.<br>Nothing was fitted." in html
    assert 'href="#Errors"' in html


def test_headings_of_a_fragment_keep_their_order_below_the_one_above():
    html = '<h2 class="a">One</h2><h3>Two</h3><header></header>'
    assert fit_headings(html, 3) == '<h4 class="a">One</h4><h5>Two</h5><header></header>'
    assert fit_headings("<h4>One</h4>", 1) == "<h2>One</h2>"


def test_each_table_is_scrolled_by_itself():
    html = wrap_tables(data_table(["a"], [[1]]) + data_table(["b"], [[2]]))
    assert html.count('<div class="scroll"><table') == 2
    assert html.count("</table></div>") == 2
