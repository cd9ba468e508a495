"""The command line becomes a configuration; what is wrong with it is said at once."""

import subprocess
import sys

import pytest

from shd_bids import __version__
from shd_bids.cli.parser import build_parser, parse_arguments
from shd_bids.config import config_text
from shd_bids.errors import ConfigError


@pytest.fixture
def call(tmp_path):
    (tmp_path / "in").mkdir()

    def parse(*flags):
        places = [str(tmp_path / "in"), str(tmp_path / "out"), "participant"]
        return parse_arguments([*places, *flags])

    return parse


def test_without_flags_the_defaults_hold(call):
    config = call()
    assert config.deconv.lmax == 8
    assert config.execution.level == "full"
    assert config.execution.participant_labels == ()


def test_labels_may_carry_their_prefix(call):
    config = call("--participant-label", "sub-01", "02", "--session-label", "ses-a")
    assert config.execution.participant_labels == ("01", "02")
    assert config.execution.session_labels == ("a",)


def test_flags_reach_their_sections(call):
    config = call(
        *("--fod-model", "csd", "shd", "--tv-weight", "0.2", "--n-streamlines", "5"),
        *("--denoise-method", "none", "--skip-tractography", "-vv", "--mem", "3.5"),
    )
    assert config.deconv.fod_models == ("csd", "shd")
    assert config.deconv.tv_weight == 0.2
    assert config.tracking.n_streamlines == 5
    assert config.tracking.skip_tractography
    assert config.preproc.denoise_method == "none"
    assert config.execution.verbosity == 2
    assert config.resources.mem == 3.5


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(call, tmp_path):
    (tmp_path / "run.toml").write_text(config_text(call("--lmax", "6", "--tv-weight", "0.1")))
    config = call("--config-file", str(tmp_path / "run.toml"), "--lmax", "10")
    assert config.deconv.lmax == 10
    assert config.deconv.tv_weight == 0.1


def test_files_that_are_named_stay_the_same_files_in_another_folder(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t1w.nii.gz", "regions.nii.gz", "regions.tsv"):
        (tmp_path / name).touch()
    anat = call(
        *("--anat-template", "t1w.nii.gz"),
        *("--atlases", "regions.nii.gz,regions.tsv", "Schaefer2018:desc-100Parcels7Networks"),
    ).anat
    assert anat.anat_template == str(tmp_path / "t1w.nii.gz")
    files = f"{tmp_path}/regions.nii.gz,{tmp_path}/regions.tsv"
    assert anat.atlases == (files, "Schaefer2018:desc-100Parcels7Networks")


def test_a_file_with_the_settings_of_a_run_gives_the_same_settings(call, tmp_path):
    config = call("--lmax", "6", "--participant-label", "01", "--debug")
    (tmp_path / "run.toml").write_text(config_text(config))
    assert call("--config-file", str(tmp_path / "run.toml")) == config


@pytest.mark.parametrize("flags", [["--magic"], ["--lmax", "x"], ["--level", "x"], ["--lma", "8"]])
def test_a_malformed_flag_ends_with_code_2(call, flags, capsys):
    with pytest.raises(SystemExit) as ended:
        call(*flags)
    assert ended.value.code == 2
    usage, said = capsys.readouterr().err.splitlines()
    assert usage == "usage: shd-bids BIDS_DIR OUTPUT_DIR {participant,group} [FLAG ...]"
    assert said.startswith("shd-bids: error:")


def test_responses_are_given_as_files_or_as_a_folder(call, tmp_path):
    for name in ("sub-01_param-response_label-WM_dwimap.txt", "csf.txt"):
        (tmp_path / name).write_text("1\n")
    by_folder = call("--response", str(tmp_path)).response.files
    assert {tissue: file.name for tissue, file in by_folder.items()} == {
        "WM": "sub-01_param-response_label-WM_dwimap.txt",
        "CSF": "csf.txt",
    }
    by_file = call("--response", f"wm={tmp_path}/csf.txt").response.files
    assert by_file == {"WM": tmp_path / "csf.txt"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nowhere", "there is no such folder"),
        ("WM=", "expected TISSUE=FILE"),
        ("WM=nowhere.txt", "no such file"),
        ("XX=nowhere.txt", "choose from WM, GM, CSF"),
    ],
)
def test_an_impossible_response_is_refused(call, value, words):
    with pytest.raises(ConfigError, match=words):
        call("--response", value)


def test_a_folder_with_two_responses_of_a_tissue_is_refused(call, tmp_path):
    for label in ("01", "02"):
        (tmp_path / f"sub-{label}_param-response_label-WM_dwimap.txt").write_text("1\n")
    with pytest.raises(ConfigError, match="several responses of WM"):
        call("--response", str(tmp_path))


def test_every_flag_says_what_it_does():
    text = build_parser().format_help()
    assert "MISSING" not in text
    for action in build_parser()._actions:
        assert action.help, action.option_strings


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_import_nothing_heavy(flag):
    code = (
        "import sys\nfrom shd_bids.cli.run import main\n"
        f"try:\n    main(['{flag}'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'nipype', 'torch', 'bids', 'nibabel', 'tomli_w'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if flag == "--version":
        assert done.stdout.strip() == f"shd-bids {__version__}"


def test_help_takes_no_longer_than_a_few_times_an_empty_program():
    def cpu_seconds(*arguments):
        code = (
            "import resource, subprocess, sys\n"
            "subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True)\n"
            "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
            "print(used.ru_utime + used.ru_stime)"
        )
        command = [sys.executable, "-c", code, *arguments]
        return float(subprocess.run(command, capture_output=True, text=True).stdout)

    assert cpu_seconds("-m", "shd_bids.cli.run", "--help") < 0.3 + cpu_seconds("-c", "pass")
