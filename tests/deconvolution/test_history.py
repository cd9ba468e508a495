"""What is said about the course of a training."""

import pytest

from shd_bids.deconvolution import history
from shd_bids.deconvolution.history import Clock, History


@pytest.mark.parametrize("step", [3, 6, 9])
def test_the_time_that_is_left_follows_from_all_steps_also_after_an_interruption_and_a_return(
    step: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr(history.time, "monotonic", lambda: now[0])
    clock = Clock(History(step=[6], seconds=[30.0]), n_step=60)
    now[0] += 15.0
    with caplog.at_level("INFO", logger="shd_bids"):
        clock.log(step, {"total": 1.0})
    assert f"{45 / step * (60 - step):.0f} s left" in caplog.text
