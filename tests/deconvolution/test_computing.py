"""Threads, device and precision of a fit are set once and said in its summary."""

import logging

import pytest
import torch

from shd_bids.deconvolution.computing import Computing
from shd_bids.deconvolution.parallel import Team


def test_what_was_chosen_is_what_is_said(caplog: pytest.LogCaptureFixture) -> None:
    n_threads = torch.get_num_threads()
    with caplog.at_level(logging.INFO):
        computing = Computing.set_up("cpu", "bfloat16", n_threads, Team())
    assert (computing.device, computing.dtype) == (torch.device("cpu"), torch.bfloat16)
    said = f"CPU, {n_threads} threads"
    assert f"Computing on {said} in torch.bfloat16." in caplog.text
    assert computing.describe() == {"device": said, "precision": "bfloat16", "n_process": 1}
