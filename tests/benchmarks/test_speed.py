"""The benchmark of speed, at sizes at which it takes seconds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.authors import build_authors_layer
from benchmarks.peak_memory import peak_memory_mib
from benchmarks.speed import main, time_in_turns
from benchmarks.speed_cases import LABELS, OURS, Case, build_network, build_step
from shd_bids.errors import ConfigError
from shd_bids.sphere.healpix import hemisphere

TINY = ["--n-side", "1", "2", "--filters", "2", "--patch", "2", "--repeats", "1"]
TINY += ["--tile", "2", "--halo", "1", "--voxel-batch", "2", "--threads", "1"]


def test_every_row_compares_with_ours(tmp_path: Path) -> None:
    json_file, figure_file = tmp_path / "speed.json", tmp_path / "speed.png"
    options = [*TINY, "--skip-memory", "--json", str(json_file), "--figure", str(figure_file)]
    rows = main(options)
    assert {row["form"] for row in rows} == set(LABELS) - {"authors"}
    # 5 forms, 2 parts, 2 resolutions, 2 precisions, 2 steps; then 2 forms per precision
    assert len(rows) == 5 * 2 * 2 * 2 * 2 + 2 * 2
    assert all(row["time_over_ours"] == 1.0 for row in rows if row["form"] == OURS)
    assert all(isinstance(row["time_over_ours"], float) for row in rows)
    assert json.loads(json_file.read_text())["rows"] == rows
    assert figure_file.stat().st_size > 10_000


def test_the_full_sphere_takes_more_memory_than_ours() -> None:
    options = ["--n-side", "4", "--filters", "8", "--patch", "4", "--repeats", "1"]
    options += ["--parts", "unet", "--precisions", "float32", "--steps", "training"]
    whole, ours = main([*options, "--forms", "sphere", "commuted", "--skip-voxels"])
    assert isinstance(whole["memory_over_ours"], float)
    assert whole["memory_over_ours"] > 1.5
    assert ours["memory_over_ours"] == 1.0


@pytest.mark.parametrize("part", ["layer", "unet"])
def test_all_forms_are_given_the_same_work(part: str) -> None:
    cases = [Case(part, form, 2, "float32", False, patch=4, filters=4) for form in LABELS]
    ladder = [build_network(case).eval() for case in cases if case.form != "authors"]
    for network in ladder:
        network.load_state_dict(ladder[0].state_dict(), strict=True)
    signal = torch.randn(24, 1, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    fold, pixels = (torch.as_tensor(index) for index in (hemisphere(2).fold, hemisphere(2).pixels))
    with torch.no_grad():
        first, *others = (
            network(signal[fold])[pixels] if part == "layer" and index == 0 else network(signal)
            for index, network in enumerate(ladder)
        )
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-5, rtol=1e-5)


def test_a_training_step_changes_the_weights() -> None:
    step = build_step(Case("unet", "dense", 2, "bfloat16", True, patch=2, filters=2))
    assert step() != step()


def test_a_folder_without_the_authors_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no model/unet\.py. Give a clone of"):
        build_authors_layer(tmp_path, 2, 2, 1)


def test_steps_take_turns() -> None:
    calls: list[str] = []
    steps: list[Callable[[], None]] = [lambda: calls.append("a"), lambda: calls.append("b")]
    assert len(time_in_turns(steps, 3)) == 2
    assert "".join(calls) == "abababab"  # the first pair warms up


def _build_allocation(n_mib: int) -> Callable[[], None]:
    def allocate() -> None:
        torch.ones(n_mib, 2**18)

    return allocate


def test_the_peak_is_what_a_step_allocates() -> None:
    assert peak_memory_mib(_build_allocation, 200) == pytest.approx(200, abs=10)
