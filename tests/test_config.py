"""Settings are checked when they are made, and survive the way through a file."""

from pathlib import Path

import pytest

from shd_bids.config import (
    SECTIONS,
    DeconvConfig,
    ExecutionConfig,
    PreprocConfig,
    ResponseConfig,
    RunConfig,
    TrackingConfig,
    build_config,
    config_text,
    options_of,
    read_config_file,
)
from shd_bids.errors import ConfigError


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "in").mkdir()
    return {
        "bids_dir": tmp_path / "in",
        "output_dir": tmp_path / "out",
        "work_dir": tmp_path / "work",
    }


def test_a_configuration_survives_the_way_through_toml(places, tmp_path):
    response_file = tmp_path / "wm.txt"
    response_file.write_text("1 2\n")
    config = RunConfig(
        execution=ExecutionConfig(**places, participant_labels=("01", "02"), level="fod"),
        preproc=PreprocConfig(denoise_method="none", b0_threshold=50.0),
        response=ResponseConfig(files={"WM": response_file}),
        deconv=DeconvConfig(fod_models=("csd", "shd"), tv_weight=0.25, shd_steps=7),
        tracking=TrackingConfig(step_mm=0.5),
    )
    (tmp_path / "run.toml").write_text(config_text(config))
    assert build_config(read_config_file(tmp_path / "run.toml")) == config


def test_what_is_not_set_is_left_out_of_the_file(places, tmp_path):
    (tmp_path / "run.toml").write_text(config_text(RunConfig(ExecutionConfig(**places))))
    text = (tmp_path / "run.toml").read_text()
    assert "tv_weight" not in text
    assert "None" not in text
    assert "lmax = 8" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[deconv]\nlmaxx = 8\n", r"deconv\.lmaxx.*\[deconv\] may hold fod_models"),
        ("[magic]\nx = 1\n", r"'magic'.*execution, preproc"),
        ("lmax = 8\n", "'lmax'"),
        ("[deconv\n", "not valid TOML"),
    ],
)
def test_unknown_or_broken_content_of_a_file_is_refused(tmp_path, text, words):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_config_file(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        read_config_file(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("deconv", {"lmax": "eight"}, r"deconv\.lmax is 'eight'; expected a value of type int"),
        ("deconv", {"lmax": True}, r"deconv\.lmax is True"),
        ("execution", {"work_dir": 3}, r"execution\.work_dir is 3"),
        ("preproc", {"b0_threshold": "low"}, "expected a value of type float"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(places, section, values, words):
    table = {"execution": {name: str(place) for name, place in places.items()}}
    table[section] = table.get(section, {}) | values
    with pytest.raises(ConfigError, match=words):
        build_config(table)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DeconvConfig(lmax=7), "--lmax is 7; it must be even"),
        (lambda: DeconvConfig(lmax=20), "--lmax is 20; it must be at most 18"),
        (lambda: DeconvConfig(fod_models=("csd", "magic")), "--fod-model cannot be 'magic'"),
        (lambda: DeconvConfig(fod_models=("csd", "csd")), "names a model twice"),
        (lambda: DeconvConfig(tv_weight=-1.0), "--tv-weight is -1.0; it must be at least 0"),
        (lambda: DeconvConfig(tv_weight=float("nan")), "--tv-weight is nan"),
        (lambda: DeconvConfig(weights=Path("/nowhere.safetensors")), "there is no such file"),
        (lambda: TrackingConfig(n_streamlines=0), "--n-streamlines is 0"),
        (lambda: TrackingConfig(max_angle_deg=120.0), "--max-angle-deg is 120.0"),
        (lambda: PreprocConfig(denoise_method="magic"), "choose from mppca, patch2self, none"),
        (lambda: PreprocConfig(output_resolution=0.1), "--output-resolution is 0.1"),
        (lambda: ResponseConfig(files={"GM": Path(__file__)}), "lacks the white matter"),
        (lambda: ResponseConfig(files={"XX": Path(__file__)}), "'XX'.*WM, GM, CSF"),
        (lambda: ResponseConfig(files={"WM": Path("/nowhere")}), "no such file"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_name_of_its_flag(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"output_dir": "in"}, "is the input itself"),
        ({"output_dir": "in/derivatives/shd"}, "lies inside the input"),
        ({"work_dir": "in/work"}, "--work-dir .* lies inside the input"),
        ({"output_dir": "work/out"}, "--work-dir .* holds the output"),
        ({"bids_dir": "nowhere"}, "is not a folder"),
    ],
)
def test_folders_that_would_harm_each_other_are_refused(places, tmp_path, changed, words):
    moved = {name: tmp_path / place for name, place in changed.items()}
    with pytest.raises(ConfigError, match=words):
        ExecutionConfig(**places | moved)


def test_a_link_to_the_input_is_the_input(places, tmp_path):
    (tmp_path / "link").symlink_to(places["bids_dir"])
    with pytest.raises(ConfigError, match="is the input itself"):
        ExecutionConfig(**places | {"output_dir": tmp_path / "link"})


def test_no_two_settings_share_a_flag():
    flags = [
        flag for section in SECTIONS.values() for item in options_of(section) for flag in item.flags
    ]
    assert len(flags) == len(set(flags))
