"""Room on the disk: told before a run, measured after it, given back where that is asked for."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from shd_workflows.disk import (
    account_for,
    clean_after,
    folder_gb,
    is_to_be_cleaned,
    output_need_gb,
    tell_lack,
    work_need_gb,
)
from shd_workflows.outcome import Outcome
from shd_workflows.plan import SeriesPlan

from shd_bids.config import ExecutionConfig, RunConfig


class _Series(SimpleNamespace):
    source_stem = "sub-01_ses-a_dwi"
    entities = {"sub": "01", "ses": "a"}  # noqa: RUF012  # never changed


@pytest.fixture
def config(tmp_path):
    for name in ("bids", "out", "work"):
        (tmp_path / name).mkdir()
    execution = ExecutionConfig(tmp_path / "bids", tmp_path / "out", work_dir=tmp_path / "work")
    return RunConfig(execution)


@pytest.fixture
def plan():
    return SeriesPlan(
        series=_Series(), shape=(100, 100, 100, 100), growth=1.0, geometry=SimpleNamespace(),
        slice_axis=2, ringing="", anat=None, shell_bvals=(0.0, 1000.0), models=("csd",),
        weights="none",
    )  # fmt: skip


@pytest.fixture
def outcome(config, plan, tmp_path):
    """Give a participant whose two sessions have left something."""
    for folder in ("shd_bids_wf/sub_01_wf/dwi_ses_a_wf", "shd_bids_wf/sub_01_wf/dwi_ses_b_wf",
                   "checkpoints/sub-01_ses-a_dwi"):  # fmt: skip
        (tmp_path / "work" / folder / "step").mkdir(parents=True)
        (tmp_path / "work" / folder / "step/file").write_bytes(bytes(1_000_000))
    return Outcome("01", tmp_path / "log", plans=[plan], finished=True)


def _left(tmp_path):
    return sorted(file.parts[-3] for file in (tmp_path / "work").rglob("file"))


def test_each_step_that_keeps_the_series_counts(config, plan):
    series_gb = 0.4
    assert work_need_gb(plan, config) > 6 * series_gb
    still = replace(config, preproc=replace(config.preproc, hmc="none"))
    less = work_need_gb(plan, config) - work_need_gb(plan, still)
    assert less == pytest.approx(2 * series_gb)
    lower = replace(config, execution=replace(config.execution, level="preproc"))
    assert output_need_gb(plan, lower) < output_need_gb(plan, config)


def test_a_disk_too_small_is_told_of_with_the_numbers(config, outcome, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    with caplog.at_level("WARNING", logger="shd_workflows"):
        tell_lack([outcome], config)
    assert "will need about" in caplog.text
    assert "1.0 GB are free" in caplog.text
    assert "--clean-workdir-after" in caplog.text


def test_where_participants_are_cleaned_after_only_those_at_work_need_room(
    config, outcome, monkeypatch, caplog
):
    """A hundred participants, and room for four."""
    many = [replace(outcome, label=f"{number:03}") for number in range(100)]
    (plan,) = outcome.plans
    room_gb = 4 * work_need_gb(plan, config) + 100 * output_need_gb(plan, config)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9 * room_gb))
    config = replace(config, resources=replace(config.resources, nprocs=2))
    tell_lack(many, config)
    assert "will need about" in caplog.text
    caplog.clear()
    cleaned = replace(config, execution=replace(config.execution, clean_workdir_after=True))
    tell_lack(many, cleaned)
    assert caplog.text == ""
    tell_lack(many, replace(cleaned, resources=replace(config.resources, nprocs=5)))
    assert "or fewer --nprocs" in caplog.text


def test_nothing_is_said_where_there_is_room(config, outcome, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e15))
    tell_lack([outcome], config)
    assert caplog.text == ""


def test_what_a_participant_takes_is_said(config, outcome, tmp_path):
    assert folder_gb(tmp_path / "work") == pytest.approx(0.003, rel=0.05)
    assert account_for(outcome, config).startswith("2 MB of intermediate results in")
    assert not is_to_be_cleaned(outcome, config)


def test_a_participant_that_is_finished_leaves_nothing_but_its_other_sessions(
    config, outcome, tmp_path
):
    config = replace(config, execution=replace(config.execution, clean_workdir_after=True))
    assert is_to_be_cleaned(outcome, config)
    assert "2 MB of intermediate results, removed from" in account_for(outcome, config)
    clean_after(outcome, config)
    assert _left(tmp_path) == ["dwi_ses_b_wf"]


def test_what_a_participant_that_failed_left_stays(config, outcome, tmp_path):
    config = replace(config, execution=replace(config.execution, clean_workdir_after=True))
    outcome.finished = False
    assert "removed" not in account_for(outcome, config)
    assert not is_to_be_cleaned(outcome, config)
