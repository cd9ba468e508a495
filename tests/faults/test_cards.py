"""A card that was asked for and is not there, is broken or too small: never in silence."""

import os
import sys
from pathlib import Path

import pytest
from deconvolution.job_files import write_job
from faults.launch import finish, start_command

from shd_bids.cli import resources
from shd_bids.cli.limits import Allowed
from shd_bids.cli.parser import parse_arguments
from shd_bids.cli.resources import Cards, resolve_resources
from shd_bids.config import config_text
from shd_bids.errors import DeviceError

#: Read by Python at its start: a card whose memory holds so many patches or voxels.
SMALL_CARD = """
import os, sys
if "shd_bids.deconvolution" in " ".join(sys.orig_argv):
    import torch
    from shd_bids.deconvolution import presets
    from shd_bids.deconvolution.network import ShdNetwork
    from deconvolution.scans import TINY
    presets.PRESETS["fast"] = TINY
    forward, limit = ShdNetwork.forward, int(os.environ["LARGEST_VOXELS"])
    def limited(network, physics, dwi, *rest):
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            if dwi[..., 0].numel() > limit:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")
        return forward(network, physics, dwi, *rest)
    ShdNetwork.forward = limited
"""


@pytest.fixture
def call(make_skeleton, tmp_path):
    places = [str(make_skeleton({"01": ["sub-01"]})), str(tmp_path / "out"), "participant"]

    def parse(*flags):
        return parse_arguments([*places, "-w", str(tmp_path / "w"), *flags])

    return parse


@pytest.fixture
def fake_driver(tmp_path, monkeypatch):
    """Put an `nvidia-smi` on PATH that says that all is well."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 570.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_driver_that_is_visible_and_does_not_work_is_told_with_the_reason(
    call, fake_driver, monkeypatch
):
    broken = "raise SystemExit('the driver is too old')"
    monkeypatch.setattr(resources, "_GPU_CHECK", broken)
    for flags in (("--device", "cuda"), ("--gpus", "2")):
        with pytest.raises(DeviceError, match="the driver is too old"):
            resolve_resources(call(*flags))
    config, machine = resolve_resources(call())
    assert config.deconv.device == "cpu"
    assert "no GPU (the driver is too old)" in machine.sentence


def test_a_driver_that_never_answers_is_not_waited_for_for_ever(call, fake_driver, monkeypatch):
    monkeypatch.setattr(resources, "_GPU_CHECK", "import time; time.sleep(600)")
    monkeypatch.setattr(resources, "_GPU_PATIENCE_S", 0.2)
    with pytest.raises(DeviceError, match="no answer from the driver"):
        resolve_resources(call("--device", "cuda"))


@pytest.mark.parametrize("cards", ["", "-1"])
def test_hidden_cards_are_none(call, fake_driver, monkeypatch, cards):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", cards)
    monkeypatch.setattr(resources, "check_gpu", lambda: pytest.fail("asked PyTorch in vain"))
    with pytest.raises(DeviceError, match="--device cuda was asked for, but"):
        resolve_resources(call("--device", "cuda"))
    with pytest.raises(DeviceError, match="--gpus is 2, but 0 usable"):
        resolve_resources(call("--gpus", "2"))


def _on(monkeypatch, n_card: int) -> None:
    monkeypatch.setattr(resources, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(resources, "check_gpu", lambda: Cards(n_card, "Card 9000"))


def _given_back(call, config, tmp_path):
    (tmp_path / "run.toml").write_text(config_text(config))
    return resolve_resources(call("--config-file", str(tmp_path / "run.toml")))[0]


def test_a_configuration_of_a_machine_without_a_card_uses_that_of_another(
    call, monkeypatch, tmp_path
):
    _on(monkeypatch, 0)
    monkeypatch.setattr(resources, "allowed_cores", lambda: Allowed(2.0))
    here = resolve_resources(call())[0]
    assert (here.deconv.device, here.resources.nprocs) == ("cpu", 2)
    _on(monkeypatch, 4)
    monkeypatch.setattr(resources, "allowed_cores", lambda: Allowed(32.0))
    there = _given_back(call, here, tmp_path)
    assert (there.deconv.device, there.resources.gpus) == ("cuda", 4)
    assert there.resources.nprocs == 32
    assert there.deconv.shd_preset == "fast"  # it decides the result, which shall be the same


def test_what_was_asked_for_of_the_machine_stays_asked_for(call, monkeypatch, tmp_path):
    _on(monkeypatch, 4)
    flags = ("--device", "cpu", "--nprocs", "3", "--omp-nthreads", "2", "--mem", "5")
    there = _given_back(call, resolve_resources(call(*flags))[0], tmp_path)
    assert (there.deconv.device, there.resources.nprocs) == ("cpu", 3)
    assert (there.resources.omp_nthreads, there.resources.mem) == (2, 5)
    asked = resolve_resources(call("--device", "cuda"))[0]
    _on(monkeypatch, 0)
    with pytest.raises(DeviceError, match="--device cuda was asked for"):
        _given_back(call, asked, tmp_path)


def test_the_file_tells_what_the_machine_chose(call, monkeypatch):
    _on(monkeypatch, 0)
    text = config_text(resolve_resources(call("--mem", "5"))[0])
    assert '# deconv.device = "cpu"' in text
    assert "# resources.nprocs = " in text
    assert "# resources.mem" not in text


@pytest.fixture
def fit(tmp_path):
    """Fit in a child process, with a card that holds so many voxels at a time."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(SMALL_CARD)
    path = [str(tmp_path / "site"), str(Path(__file__).parents[1]), *filter(None, sys.path)]

    def run(name: str, largest_voxels: int):
        job_file = write_job(tmp_path / name)
        command = [sys.executable, "-m", "shd_bids.deconvolution", str(job_file)]
        environment = {
            "PYTHONPATH": os.pathsep.join(path),
            "LARGEST_VOXELS": str(largest_voxels),
            "OMP_NUM_THREADS": "1",
        }
        return finish(start_command(command, environment=environment)), job_file.parent / "out"

    return run


@pytest.mark.slow
def test_a_small_card_fits_in_smaller_parts_what_a_large_one_fits_at_once(fit):
    import nibabel as nib
    import numpy as np

    large, expected = fit("large", 10**9)
    small, found = fit("small", 4**3)  # one patch; tiles of 6 voxels and their halos hold more
    assert large.code == 0, large.text
    if small.code != 0:  # not even the smallest tile: its halo is as large as a patch
        small, found = fit("tiles", 7**3)
    assert small.code == 0, small.text
    assert "ran out of memory; going on with" in small.text
    for name in ("fod_WM", "rmse"):
        one, other = (
            nib.load(folder / f"{name}.nii.gz").get_fdata() for folder in (found, expected)
        )
        np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(other).max())


@pytest.mark.slow
def test_a_card_that_holds_nothing_is_told_with_what_was_needed(fit):
    run, out = fit("none", 0)
    assert run.code == 1
    assert "Traceback" not in run.text
    assert "2.50 GiB more were needed" in run.last_line
    assert "--device cpu" in run.last_line
    assert not (out / "summary.json").exists()
