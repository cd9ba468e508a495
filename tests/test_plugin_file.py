"""A plugin file is read and never evaluated."""

import json
from pathlib import Path

import pytest

from shd_bids.config import PluginSettings, read_plugin_file
from shd_bids.errors import ConfigError


def _read(tmp_path: Path, text: str, name: str = "plugin.yml") -> PluginSettings:
    (tmp_path / name).write_text(text)
    return read_plugin_file(tmp_path / name)


def test_a_file_of_fmriprep_is_understood(tmp_path):
    text = (
        "plugin: LegacyMultiProc\nplugin_args: {maxtasksperchild: 1, memory_gb: 60, n_procs: 16, "
        "raise_insufficient: false}\n"
    )
    assert _read(tmp_path, text) == PluginSettings("MultiProc", {"memory_gb": 60, "n_procs": 16})


def test_all_three_languages_say_the_same(tmp_path):
    table = {"plugin": "SLURM", "plugin_args": {"sbatch_args": "--account=lab -p 'big one'"}}
    wanted = PluginSettings("SLURM", {"sbatch_args": ["--account=lab", "-p", "big one"]})
    toml = "plugin = 'SLURM'\n[plugin_args]\nsbatch_args = ['--account=lab', '-p', 'big one']\n"
    yaml = "plugin: SLURM\nplugin_args:\n  sbatch_args: --account=lab -p 'big one'\n"
    assert _read(tmp_path, json.dumps(table), "a.json") == wanted
    assert _read(tmp_path, toml, "a.toml") == wanted
    assert _read(tmp_path, yaml) == wanted
    assert wanted.is_cluster


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugin: SGE", r"asks for plugin 'SGE'; supported are SLURM.*one job per participant"),
        ("plugin: [SLURM]", r"asks for plugin \['SLURM'\]"),
        ("plugin_args: {}", "asks for plugin None"),
        ("plugin: SLURM\nplugin_arg: {}", "holds 'plugin_arg'; expected plugin and plugin_args"),
        ("plugin: SLURM\nplugin_args: {qsub_args: -q}", "argument 'qsub_args'; it takes sbatch"),
        ("plugin: SLURM\nplugin_args: {max_jobs: many}", "max_jobs is 'many'.*wrong kind"),
        ("plugin: SLURM\nplugin_args: {max_jobs: 0}", "max_jobs is 0; it must be more than 0"),
        ("plugin: MultiProc\nplugin_args: {n_procs: true}", "n_procs is True"),
        ('plugin: SLURM\nplugin_args: {sbatch_args: "-A \'lab"}', "No closing quotation"),
        ("plugin: SLURM\nplugin_args: [1]", r"plugin_args is \[1\]"),
        ("plugin: {", "is not valid YAML"),
        ("- 1", "holds no names with values"),
        ("", "holds no names with values"),
        ("plugin: !!python/object/apply:os.system ['touch evaluated']", "is not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        _read(tmp_path, text)
    assert not (tmp_path / "evaluated").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.yml cannot be read: No such file"):
        read_plugin_file(tmp_path / "none.yml")
