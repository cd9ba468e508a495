"""What a container, a scheduler and a card allow."""

import pytest

from shd_bids.cli import resources
from shd_bids.cli.limits import Allowed
from shd_bids.cli.resources import Cards, resolve_resources
from shd_bids.config import DeconvConfig, ExecutionConfig, ResourcesConfig, RunConfig
from shd_bids.errors import ConfigError, DeviceError


@pytest.fixture
def make_config(tmp_path):
    (tmp_path / "in").mkdir()

    def make(device="auto", plugin="", **given):
        file = tmp_path / "plugin.yml"
        file.write_text(plugin)
        execution = ExecutionConfig(
            tmp_path / "in",
            tmp_path / "out",
            work_dir=tmp_path / "work",
            use_plugin=file if plugin else None,
        )
        return RunConfig(
            execution,
            deconv=DeconvConfig(device=device),
            resources=ResourcesConfig(**given),
        )

    return make


@pytest.fixture
def with_card(monkeypatch):
    monkeypatch.setattr(resources, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(resources, "check_gpu", lambda: Cards(2, "Card 9000", {"GPU": "2 x"}))


@pytest.fixture
def without_card(monkeypatch):
    monkeypatch.setattr(resources, "_may_have_gpu", lambda: False)


def test_who_limits_the_machine_is_said(make_config, without_card, monkeypatch):
    monkeypatch.setattr(resources, "allowed_cores", lambda: Allowed(2.0, "NSLOTS"))
    monkeypatch.setattr(resources, "allowed_memory_gb", lambda: Allowed(10.0, "memory.max"))
    config, machine = resolve_resources(make_config())
    assert (config.resources.nprocs, config.resources.mem) == (2, 9.0)
    assert "Limited to 2 core(s) by NSLOTS. Limited to 10 GB by memory.max." in machine.sentence


def test_more_than_is_allowed_is_taken_at_the_users_word_and_said(
    make_config, without_card, monkeypatch
):
    monkeypatch.setattr(resources, "allowed_cores", lambda: Allowed(2.0, "NSLOTS"))
    monkeypatch.setattr(resources, "allowed_memory_gb", lambda: Allowed(10.0))
    config, machine = resolve_resources(make_config(nprocs=4, mem=16.0))
    assert (config.resources.nprocs, config.resources.mem) == (4, 16.0)
    assert "--nprocs 4 is more than the 2 core(s) that NSLOTS allows" in machine.sentence
    assert "--mem 16 is more than the 10 GB that the machine allows" in machine.sentence


def test_cuda_without_a_card_is_an_error(make_config, without_card):
    with pytest.raises(DeviceError, match=r"--device cuda was asked for.*--device cpu"):
        resolve_resources(make_config("cuda"))


def test_cuda_that_pytorch_cannot_use_is_an_error_with_its_reason(make_config, monkeypatch):
    monkeypatch.setattr(resources, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(resources, "check_gpu", lambda: Cards(0, "the driver is too old"))
    with pytest.raises(DeviceError, match="the driver is too old"):
        resolve_resources(make_config("cuda"))


def test_auto_takes_the_card_and_the_larger_preset_and_says_so(make_config, with_card):
    config, machine = resolve_resources(make_config())
    assert (config.deconv.device, config.deconv.shd_preset) == ("cuda", "standard")
    assert config.resources.gpus == 2
    assert "2 GPU(s) (Card 9000)" in machine.sentence
    assert machine.gpu_facts == {"GPU": "2 x"}


def test_auto_without_a_card_takes_the_cpu_and_says_why(make_config, without_card):
    config, machine = resolve_resources(make_config())
    assert (config.deconv.device, config.deconv.shd_preset) == ("cpu", "fast")
    assert "no GPU (no NVIDIA driver is visible)" in machine.sentence
    assert machine.gpu_facts == {}


def test_cards_stay_within_what_the_scheduler_gave(make_config, with_card, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    _, machine = resolve_resources(make_config(gpus=1))
    assert machine.gpus == ("5",)


def test_more_cards_than_there_are_is_an_error(make_config, with_card):
    with pytest.raises(DeviceError, match="--gpus is 3, but 2 usable"):
        resolve_resources(make_config(gpus=3))


def test_no_cards_asked_for_means_the_cpu(make_config, with_card):
    assert resolve_resources(make_config(gpus=0))[0].deconv.device == "cpu"


def test_a_step_cannot_have_more_threads_than_there_are_processors(make_config, without_card):
    with pytest.raises(ConfigError, match="--omp-nthreads is 4, more than --nprocs 2"):
        resolve_resources(make_config(nprocs=2, omp_nthreads=4))


def test_a_plugin_file_sets_what_no_flag_sets(make_config, without_card):
    plugin = "plugin: MultiProc\nplugin_args: {n_procs: 3, memory_gb: 5}\n"
    config, _ = resolve_resources(make_config(plugin=plugin))
    assert (config.resources.nprocs, config.resources.mem) == (3, 5.0)
    config, _ = resolve_resources(make_config(plugin=plugin, nprocs=2, mem=4.0))
    assert (config.resources.nprocs, config.resources.mem) == (2, 4.0)


def test_without_slurm_no_jobs_can_be_made(make_config, without_card, monkeypatch):
    monkeypatch.setattr(resources.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"SLURM, but sbatch, squeue, scancel is not on PATH"):
        resolve_resources(make_config(plugin="plugin: SLURM"))


def test_the_cards_of_a_cluster_are_not_looked_for_where_jobs_are_made(
    make_config, without_card, monkeypatch
):
    monkeypatch.setattr(resources.shutil, "which", lambda name: f"/bin/{name}")
    config, machine = resolve_resources(make_config("cuda", plugin="plugin: SLURM", gpus=2))
    assert config.deconv.device == "cuda"
    assert machine.gpus == ("0", "1")
    config, _ = resolve_resources(make_config("auto", plugin="plugin: SLURM"))
    assert config.deconv.device == "cpu"
