"""How far networks are from turning their output with their input, by resolution of the sphere.

``python -m benchmarks.equivariance --json FILE --figure FILE`` turns the voxel grid, the sphere,
and both, for SHD, for a network that concatenates neighbouring voxels, and for one of common
convolutions, all with random weights, with and without levels of pooling (figure 8 of Elaldi et
al. 2024, arXiv 2411.11819).
"""

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from shd_bids.sphere.harmonics import sh_basis
from shd_bids.sphere.healpix import hemisphere
from shd_bids.testing.equivariance import (
    grid_equivariance_error,
    joint_equivariance_error,
    sphere_equivariance_error,
)

from .equivariance_networks import N_CHANNEL, build_networks
from .record import add_output_arguments, print_table, write_record

Row = dict[str, object]
_ROTATIONS = ("grid", "sphere", "both")
#: Degree of the functions that are turned: the most that 6 vertices carry.
_LMAX = 2
_FLOOR = 1e-8


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure what the command line asks for; print, record and draw it."""
    options = _make_parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for n_side, n_level in product(options.n_side, options.levels):
        if n_side >> (n_level - 1) < 1:
            continue
        errors: dict[tuple[str, str], list[float]] = {}
        for seed in range(options.seeds):
            networks = build_networks(n_side, n_level, options.filters, seed)
            for name, network in networks.items():
                measured = measure_errors(network, n_side, options.patch, options.rotations, seed)
                for rotation, error in measured.items():
                    errors.setdefault((name, rotation), []).append(error)
        rows += [
            {
                "network": name,
                "n_side": n_side,
                "n_level": n_level,
                "rotation": rotation,
                "error": float(np.mean(values)),
                "error_sd": float(np.std(values)),
                "n_seed": len(values),
            }
            for (name, rotation), values in errors.items()
        ]
    print_table(rows, "relative error of equivariance")
    write_record(options, name="equivariance", rows=rows)
    if options.figure:
        draw_errors(rows, options.figure)
    return rows


def measure_errors(
    network: nn.Module, n_side: int, patch: int, n_rotation: int, seed: int
) -> dict[str, float]:
    """Give the errors of one network under rotations of the grid, of the sphere and of both.

    That of the grid is the largest over its 48 symmetries, the others are means over random
    rotations of functions of degree 2.
    """
    generator = torch.Generator().manual_seed(seed)
    basis = torch.as_tensor(sh_basis(hemisphere(n_side).vertices, _LMAX)).float()
    shape = (basis.shape[1], 1, patch, patch, patch, N_CHANNEL)
    signal = torch.tensordot(basis, torch.randn(shape, generator=generator), dims=([1], [0]))
    size = {"n_channel": N_CHANNEL, "lmax": _LMAX, "n_rotation": n_rotation, "patch": patch}
    return {
        "grid": grid_equivariance_error(network, signal),
        "sphere": sphere_equivariance_error(network, n_side, random_seed=seed, **size),
        "both": joint_equivariance_error(network, n_side, random_seed=seed, **size),
    }


def draw_errors(rows: Sequence[Mapping[str, object]], figure_file: Path) -> None:
    """Draw one panel per rotation, one line per network, over the resolution of the sphere."""
    lines = list(dict.fromkeys((row["network"], row["n_level"]) for row in rows))
    networks = list(dict.fromkeys(network for network, _ in lines))
    levels = list(dict.fromkeys(n_level for _, n_level in lines))
    figure = Figure(figsize=(9.0, 3.9), layout="constrained")
    panels = figure.subplots(1, len(_ROTATIONS), sharey=True)
    for panel, rotation in zip(panels, _ROTATIONS, strict=True):
        for network, n_level in lines:
            points = [
                (row["n_side"], max(float(str(row["error"])), _FLOOR), row["error_sd"])
                for row in rows
                if (row["network"], row["n_level"], row["rotation"]) == (network, n_level, rotation)
            ]
            sides, errors, spread = zip(*points, strict=True)
            style = {
                "color": f"C{networks.index(network)}",
                "linestyle": ("-", "--", ":")[levels.index(n_level) % 3],
                "marker": "o",
                "markersize": 4,
                "label": f"{network}, {n_level} level" + "s" * (n_level != 1),
            }
            panel.errorbar(sides, errors, spread, **style)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_title({"grid": "voxel grid", "sphere": "sphere", "both": "both"}[rotation])
        panel.set_xlabel("n_side")
        panel.grid(visible=True, alpha=0.3)
    panels[0].set_ylabel("relative error")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize="small")
    figure_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(figure_file, dpi=150)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.equivariance", description=__doc__)
    parser.add_argument("--n-side", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 3], help="of the U-Nets")
    parser.add_argument("--filters", type=int, default=8)
    parser.add_argument("--patch", type=int, default=4, help="voxels along an edge")
    parser.add_argument("--rotations", type=int, default=8, help="random ones per seed")
    parser.add_argument("--seeds", type=int, default=3, help="networks with random weights")
    parser.add_argument("--threads", type=int, help="of torch; default: all cores")
    add_output_arguments(parser)
    return parser


if __name__ == "__main__":
    main()
