"""What tracking lacks is told before anything runs."""

from pathlib import Path

import pytest
from shd_workflows.anat_plan import AnatPlan
from shd_workflows.tracking_plan import plan_tracking

from shd_bids.config import ExecutionConfig, RunConfig, TrackingConfig
from shd_bids.errors import ConfigError, ImageError


def plan(folder: Path, *, t1w_file=None, n_shell=2, level="full", **tracking) -> str:
    (folder / "bids").mkdir(exist_ok=True)
    execution = ExecutionConfig(folder / "bids", folder / "out", work_dir=folder / "w", level=level)
    config = RunConfig(execution, tracking=TrackingConfig(**tracking))
    return plan_tracking(config, AnatPlan(t1w_file), n_shell=n_shell)


@pytest.mark.parametrize(
    ("tracking", "words"),
    [
        ({"seed_from": "/no/seeds.nii.gz"}, "--seed-from is /no/seeds.nii.gz: no such file"),
        ({"seed_from": "gray-matter"}, "Expected white-matter, interface or an image"),
        ({"model_bundles": Path("/no/models")}, "--model-bundles /no/models: no such folder"),
        ({"seed_from": "interface"}, "--seed-from interface needs to know where grey matter is"),
        ({"tracking_method": "pft"}, "--tracking-method pft needs to know .* has 2 shells"),
    ],
)
def test_what_is_missing_is_named_by_its_flag(tracking, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        plan(tmp_path, **tracking)


def test_a_folder_without_bundles_and_a_broken_seed_image_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no model bundle"):
        plan(tmp_path, model_bundles=tmp_path)
    (tmp_path / "seeds.nii.gz").write_bytes(b"")
    with pytest.raises(ImageError, match=r"seeds\.nii\.gz"):
        plan(tmp_path, seed_from=str(tmp_path / "seeds.nii.gz"))


@pytest.mark.parametrize("known", [{"t1w_file": Path("T1w.nii.gz")}, {"n_shell": 3}])
def test_a_t1w_image_or_a_third_shell_tells_where_grey_matter_is(known, tmp_path):
    for tracking in ({"seed_from": "interface"}, {"tracking_method": "pft"}):
        assert plan(tmp_path, streamline_weights="none", **known, **tracking) == "none"


def test_sift2_is_taken_where_mrtrix3_is_installed_and_refused_by_name_elsewhere(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert plan(tmp_path) == "none"
    assert "tcksift2 is not on PATH: streamlines get no weights" in caplog.text
    with pytest.raises(ConfigError, match="--streamline-weights sift2 needs MRtrix3"):
        plan(tmp_path, streamline_weights="sift2")
    (tmp_path / "tcksift2").touch(mode=0o755)
    assert plan(tmp_path) == "sift2"
    assert plan(tmp_path, streamline_weights="life") == "life"


def test_nothing_is_asked_for_where_nothing_is_tracked(tmp_path):
    missing = {"seed_from": "/no/seeds.nii.gz", "streamline_weights": "life"}
    assert plan(tmp_path, level="fod", **missing) == "none"
    assert plan(tmp_path, skip_tractography=True, **missing) == "none"
