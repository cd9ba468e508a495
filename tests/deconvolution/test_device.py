"""Devices: what was asked for, or an error; never something else in silence."""

import pytest
import torch

from shd_bids.deconvolution import device as device_module
from shd_bids.deconvolution.device import choose_device, choose_precision, describe_device
from shd_bids.errors import DeviceError

CPU = torch.device("cpu")


def _has_card(monkeypatch: pytest.MonkeyPatch, present: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)


def test_cuda_without_a_card_is_refused_with_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_card(monkeypatch, False)
    with pytest.raises(DeviceError, match=r"--device cuda was asked for.*--gpus all.*--device cpu"):
        choose_device("cuda")


@pytest.mark.parametrize(("present", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_the_card_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, present: bool, expected: str
) -> None:
    _has_card(monkeypatch, present)
    assert choose_device("auto").type == expected


def test_cpu_is_the_cpu_even_beside_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    _has_card(monkeypatch, True)
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("name", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_precision_that_is_named_is_taken(name: str, expected: torch.dtype) -> None:
    assert choose_precision(name, CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bfloat16_where_the_hardware_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(device_module, "_cpu_multiplies_bfloat16", lambda: native)
    assert choose_precision("auto", CPU) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: native)
    assert choose_precision("auto", torch.device("cuda")) == expected


def test_the_processor_is_described_with_its_threads() -> None:
    assert describe_device(CPU) == f"CPU, {torch.get_num_threads()} threads"


@pytest.mark.gpu
def test_the_card_is_described_by_name() -> None:
    assert "compute capability" in describe_device(torch.device("cuda"))
