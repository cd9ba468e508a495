"""The benchmark of equivariance tells networks apart that turn from those that do not."""

import json

import pytest

from benchmarks.equivariance import main

Errors = dict[tuple[str, str, int], float]


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Errors:
    folder = tmp_path_factory.mktemp("equivariance")
    options = [
        "--n-side",
        "1",
        "4",
        "--levels",
        "1",
        "--filters",
        "4",
        "--patch",
        "2",
        "--threads",
        "1",
    ]
    options += ["--seeds", "2", "--rotations", "2", "--json", str(folder / "rows.json")]
    rows = main([*options, "--figure", str(folder / "rows.png")])
    assert (folder / "rows.png").stat().st_size > 10_000
    recorded = json.loads((folder / "rows.json").read_text())["rows"]
    assert recorded == rows
    return {(row["network"], row["rotation"], row["n_side"]): row["error"] for row in recorded}


@pytest.mark.parametrize("n_side", [1, 4])
def test_shd_turns_exactly_with_the_voxel_grid(errors: Errors, n_side: int) -> None:
    assert errors["SHD", "grid", n_side] < 1e-5


@pytest.mark.parametrize("network", ["SHD", "concatenating"])
def test_filters_of_the_graph_turn_nearly_with_a_fine_sphere(errors: Errors, network: str) -> None:
    assert errors[network, "sphere", 4] < 0.5 * errors[network, "sphere", 1]
    assert errors[network, "sphere", 4] < 0.2


@pytest.mark.parametrize("rotation", ["grid", "both"])
def test_a_network_that_concatenates_neighbours_fails_on_the_grid(
    errors: Errors, rotation: str
) -> None:
    assert errors["concatenating", rotation, 4] > 0.3
    assert errors["SHD", rotation, 4] < 0.2


@pytest.mark.parametrize("rotation", ["grid", "sphere", "both"])
def test_a_network_of_common_convolutions_fails_everywhere(errors: Errors, rotation: str) -> None:
    assert errors["voxel CNN", rotation, 4] > 0.5
