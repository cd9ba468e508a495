"""The counts of the benchmark of cost, where they are known."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import cost
from benchmarks.cost import CostCounter, main


def test_a_product_costs_its_arithmetic_and_its_three_matrices() -> None:
    first, second = torch.ones(3, 5, dtype=torch.bfloat16), torch.ones(5, 7, dtype=torch.bfloat16)
    with CostCounter() as counter:
        first @ second
    assert dict(counter.flop) == {torch.bfloat16: 2 * 3 * 5 * 7}
    assert counter.n_byte == 2 * (3 * 5 + 5 * 7 + 3 * 7)
    assert counter.n_kernel == 1


def test_views_and_empty_tensors_cost_nothing() -> None:
    signal = torch.ones(4, 6)
    with CostCounter() as counter:
        signal.T[:2].view(2, 2, 2)
        torch.empty_like(signal)
    assert counter.n_kernel == counter.n_byte == 0


def test_an_output_given_is_written_and_not_read() -> None:
    first, second, total = (torch.ones(10) for _ in range(3))
    with CostCounter() as counter:
        torch.add(first, second, out=total)
    assert counter.n_byte == 3 * 40


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_WINDOW", 8)


@pytest.mark.usefixtures("small_window")
def test_phases_add_up_and_scale_with_the_brain(tmp_path: Path) -> None:
    json_file, figure_file = tmp_path / "cost.json", tmp_path / "cost.png"
    options = ["--presets", "fast", "--protocol", "single-shell", "--voxels"]
    rows = main([*options, "50_000", "--json", str(json_file), "--figure", str(figure_file)])
    *phases, total = rows
    assert [row["phase"] for row in phases] == ["start", "training", "prediction"]
    assert total["floor_s"] == pytest.approx(sum(row["floor_s"] for row in phases))
    for row in phases:
        assert row["floor_s"] == row[f"{row['limit']}_s"] > 0
        assert row["gflop_per_voxel"] > 0
    twice = main([*options, "100_000"])
    once, double = phases[2], twice[2]
    assert double["arithmetic_s"] == pytest.approx(2 * once["arithmetic_s"])
    assert double["gflop_per_voxel"] == pytest.approx(once["gflop_per_voxel"])
    assert json.loads(json_file.read_text())["rows"] == rows
    assert figure_file.stat().st_size > 5_000
