"""What a whole brain costs, counted: arithmetic, memory traffic and kernels, and the least time.

``python -m benchmarks.cost --presets standard`` runs each phase of a fit on a few voxels, counts
every operation, and scales the counts to a brain. Nothing is timed: the last columns say how long a
card with given peak rates would take at the least, and which rate limits it. What an operation
reads and writes is counted as if no cache kept it.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from shd_bids.deconvolution import layers, start
from shd_bids.deconvolution.fit import build_network, limit_degree, prepare_scan
from shd_bids.deconvolution.forward import build_signal_model
from shd_bids.deconvolution.gradient import BatchGradient
from shd_bids.deconvolution.losses import LossWeights, ShdLoss
from shd_bids.deconvolution.parallel import Team
from shd_bids.deconvolution.patches import MaskedScan, PatchSampler
from shd_bids.deconvolution.presets import PRESETS, Preset, get_preset

from .accuracy import PROTOCOLS, make_scan
from .record import add_output_arguments, print_table, write_record

_WINDOW = 16  # voxels along an edge on which prediction is counted
_ONE_BLOCK = 2**62  # bytes: a card is given all vertices at once


@dataclass(frozen=True)
class Rates:
    """Peak rates of a card; the defaults are those of an H100 SXM data sheet.

    Attributes
    ----------
    bfloat16, float32
        Dense arithmetic, FLOP/s; float32 without TF32.
    bandwidth
        Memory, byte/s.
    launch
        Least time between two kernels, s.
    """

    bfloat16: float = 989e12
    float32: float = 67e12
    bandwidth: float = 3.35e12
    launch: float = 5e-6


class CostCounter(TorchDispatchMode):
    """Count what runs inside: FLOP by precision, bytes read and written, and kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.flop: Counter[torch.dtype] = Counter()
        self.n_byte = 0
        self.n_kernel = 0

    def __torch_dispatch__(
        self,
        func: Any,  # torch gives its operators no public type
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and add it to the counts."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.is_view or "empty" in func.__name__:
            return result
        given = {name: value for name, value in kwargs.items() if name != "out"}
        written = list(_tensors(result))
        self.n_byte += sum(t.nbytes for t in (*_tensors((args, given)), *written))
        self.n_kernel += 1
        if func.overloadpacket in flop_registry and written:
            count = flop_registry[func.overloadpacket](*args, **given, out_val=result)
            self.flop[written[0].dtype] += count
        return result


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


@dataclass(frozen=True)
class Phase:
    """A part of a fit, as often as a brain needs it.

    Attributes
    ----------
    name
        For the table.
    run
        Does it once.
    n_time
        How many times its arithmetic and traffic are needed.
    n_launch
        How many times its kernels are.
    """

    name: str
    run: Callable[[], object]
    n_time: float
    n_launch: float


def count_preset(name: str, protocol: str, n_voxel: int, rates: Rates) -> list[dict[str, Any]]:
    """Count the phases of a fit and scale the counts to a brain.

    Parameters
    ----------
    name
        Of the preset.
    protocol
        Gradient scheme of the phantom on which it is counted.
    n_voxel
        Of the brain.
    rates
        Of the card.

    Returns
    -------
    rows
        One for each phase and one for their sum. Counts are for a voxel of the brain: in training
        all steps of the schedule, in prediction with the halo of the tiles. ``floor_s`` is for the
        whole brain.
    """
    rows = []
    with mock.patch.object(layers, "_BLOCK_BYTES", _ONE_BLOCK):
        for phase in _make_phases(get_preset(name), protocol, n_voxel):
            with CostCounter() as counter:
                phase.run()
            rows.append(
                {"preset": name, "phase": phase.name} | _scale(counter, phase, n_voxel, rates)
            )
    numbers = [key for key, value in rows[0].items() if not isinstance(value, str)]
    total = {key: sum(row[key] for row in rows) for key in numbers}
    return [*rows, {"preset": name, "phase": "all"} | total]


def _make_phases(preset: Preset, protocol: str, n_voxel: int) -> list[Phase]:
    scan, phantom = make_scan(protocol, 30.0, 1, shape=(_WINDOW,) * 3, response="true")
    model = build_signal_model(scan.gradients, scan.shells, scan.responses, limit_degree(8, preset))
    generator = torch.Generator().manual_seed(0)
    tissues = model.tissues
    network = build_network("shd-tv", preset, model.n_shell, tissues, model.lmax, generator)
    mask = np.ones_like(phantom.mask)

    def prepare() -> MaskedScan:
        given = scan.dwi, mask, scan.affine, model, network
        return prepare_scan(*given, preset=preset, generator=generator)

    prepared = prepare()
    criterion = ShdLoss(model.lmax, preset.loss_n_side, LossWeights.for_model("shd-tv"))
    gradient = BatchGradient(network, criterion, torch.bfloat16, Team(), 1.0)
    batch = PatchSampler([prepared], preset.patch, generator).draw(preset.batch)
    network.eval()  # as in training, in which the normalisation stands fixed
    whole = prepared.patch(prepared.row.unsqueeze(0), prepared.views[0])

    def predict() -> None:
        with torch.inference_mode():
            network(whole.physics, whole.dwi, whole.start, torch.bfloat16)

    brain, n_step = n_voxel / _WINDOW**3, float(preset.steps)
    n_tile = n_voxel / preset.tile**3
    with_halo = ((preset.tile + 2 * preset.halo) / preset.tile) ** 3
    return [
        Phase("start", prepare, brain, n_voxel / start.CHUNK),
        Phase("training", lambda: gradient(batch), n_step, n_step),
        Phase("prediction", predict, brain * with_halo, n_tile),
    ]


def _scale(counter: CostCounter, phase: Phase, n_voxel: int, rates: Rates) -> dict[str, Any]:
    """Give the counts for a voxel, and the time that a card cannot do without for the brain."""
    n_bfloat16 = counter.flop[torch.bfloat16]
    arithmetic_s = n_bfloat16 / rates.bfloat16
    arithmetic_s += (counter.flop.total() - n_bfloat16) / rates.float32
    seconds = {
        "arithmetic": arithmetic_s * phase.n_time,
        "memory": counter.n_byte * phase.n_time / rates.bandwidth,
        "launches": counter.n_kernel * phase.n_launch * rates.launch,
    }
    return {
        "gflop_per_voxel": counter.flop.total() * phase.n_time / n_voxel / 1e9,
        "mbyte_per_voxel": counter.n_byte * phase.n_time / n_voxel / 1e6,
        "kernels": round(counter.n_kernel * phase.n_launch),
        **{f"{limit}_s": spent for limit, spent in seconds.items()},
        "floor_s": max(seconds.values()),
        "limit": max(seconds, key=lambda limit: seconds[limit]),
    }


def draw_cost(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the time of each phase by what limits it."""
    phases = [row for row in rows if row["phase"] != "all"]
    names = [f"{row['preset']}: {row['phase']}" for row in phases]
    figure = Figure(figsize=(8.0, 1.5 + 0.45 * len(names)), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(names))
    for number, limit in enumerate(("arithmetic", "memory", "launches")):
        seconds = [row[f"{limit}_s"] for row in phases]
        axes.barh(place + 0.27 * (number - 1), seconds, height=0.25, label=limit)
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("Least seconds for the brain")
    axes.legend(frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=["fast", "standard"])
    parser.add_argument("--protocol", choices=list(PROTOCOLS), default="multi-shell")
    parser.add_argument("--voxels", type=int, default=235_167, help="of the brain mask")
    card = parser.add_argument_group("the card, by default an H100 SXM")
    units = {"bfloat16": "FLOP/s", "float32": "FLOP/s", "bandwidth": "byte/s", "launch": "s"}
    for name, unit in units.items():
        default = getattr(Rates, name)
        card.add_argument(f"--{name}", type=float, default=default, metavar="RATE", help=unit)
    add_output_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Count, print the table and write what was asked for."""
    options = parse_arguments(argv)
    rates = Rates(options.bfloat16, options.float32, options.bandwidth, options.launch)
    rows: list[dict[str, Any]] = []
    for preset in options.presets:
        rows += count_preset(preset, options.protocol, options.voxels, rates)
    print_table(rows, f"Counted for {options.voxels} voxels")
    write_record(options, name="cost", rows=rows)
    if options.figure is not None:
        draw_cost(rows, options.figure)
    return rows


if __name__ == "__main__":
    main()
