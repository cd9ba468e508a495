"""Time and memory of our convolution and U-Net against the forms that they replace.

``python -m benchmarks.speed --json FILE --figure FILE`` climbs the ladder of the paper's figure 4
(full sphere, + hemisphere, + dense, + precomputed) up to ours, at every resolution of the sphere;
``--reference DIR`` adds the authors' clone. Forms take turns, so that a machine that slows down
slows all of them, and medians are reported.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from .authors import copy_weights
from .peak_memory import peak_cuda_memory_mib, peak_memory_mib
from .record import add_output_arguments, print_table, write_record
from .speed_cases import AUTHORS, LABELS, OURS, Case, build_network, build_step, cases_side_by_side
from .speed_figure import draw_speed

Row = dict[str, object]
Clock = Callable[[], float]
_PAPER_PATCH = 3  # voxels along an edge; the authors predict one such patch per voxel
_PAPER_BATCH = 128


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure what the command line asks for; print, record and draw it."""
    options = _make_parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.threads = torch.get_num_threads()
    rows: list[Row] = []
    for group in cases_side_by_side(_make_cases(options)):
        found = measure_group(
            group, options.repeats, with_memory=not options.skip_memory, clock=_clock(options)
        )
        first = group[0]
        step = "training step" if first.training else "forward"
        print_table(found, f"{first.part}, n_side {first.n_side}, {first.precision}, {step}")
        rows += found
    voxel_rows = [] if options.skip_voxels else measure_voxels(options)
    parity_rows = check_parity(options) if options.reference else []
    if parity_rows:
        print_table(parity_rows, "largest difference from the authors' output, same weights")
    if voxel_rows:
        print_table(voxel_rows, "prediction, seconds per brain voxel")
    every = [*rows, *voxel_rows, *parity_rows]
    write_record(options, name="speed", rows=every)
    if options.figure:
        draw_speed(rows, options.figure)
    return every


def measure_group(
    cases: Sequence[Case],
    n_repeat: int,
    *,
    with_memory: bool,
    clock: Clock = time.perf_counter,
) -> list[Row]:
    """Time cases that differ in their form only, in turns, and measure their memory.

    Returns
    -------
    rows
        ``seconds`` is the median; ``time_over_ours`` and ``memory_over_ours`` say how many times
        as long and as much as ours, None without ours or without memory.
    """
    steps = [build_step(case) for case in cases]
    seconds = time_in_turns(steps, n_repeat, cases[0].device, clock=clock)
    peaks: list[float | None] = [_measure_peak(case) if with_memory else None for case in cases]
    forms = [case.form for case in cases]
    own = forms.index(OURS) if OURS in forms else None
    return [
        {
            "part": case.part,
            "n_side": case.n_side,
            "precision": case.precision,
            "step": "training" if case.training else "forward",
            "form": case.form,
            "seconds": duration,
            "time_over_ours": None if own is None else duration / seconds[own],
            "peak_mib": peak,
            "memory_over_ours": None if own is None else _ratio(peak, peaks[own]),
        }
        for case, duration, peak in zip(cases, seconds, peaks, strict=True)
    ]


def measure_voxels(options: argparse.Namespace) -> list[Row]:
    """Time prediction per brain voxel: tiles with a halo against one small patch per voxel.

    Ours computes a cube of ``tile + 2 halo`` voxels and keeps ``tile``; the authors compute
    3x3x3 voxels and keep one, in batches of 128 (without their clone: the same in our
    "precomputed" form). The U-Net is timed, which is nearly all of it.
    """
    rows: list[Row] = []
    for precision in options.precisions:
        n_side = max(options.n_side)
        tile = Case("unet", OURS, n_side, precision, training=False, device=options.device)
        tile = replace(tile, filters=options.filters, patch=options.tile + 2 * options.halo)
        form = AUTHORS if options.reference else "precomputed"
        patches = replace(
            tile,
            form=form,
            patch=_PAPER_PATCH,
            batch=options.voxel_batch,
            reference=options.reference,
        )
        if patches.n_level == 1 and form == AUTHORS:
            continue
        steps = [build_step(case) for case in (tile, patches)]
        durations = time_in_turns(steps, options.repeats, options.device, clock=_clock(options))
        kept = (options.tile**3, patches.batch)
        costs = [duration / n for duration, n in zip(durations, kept, strict=True)]
        rows += [
            {
                "part": "voxel",
                "n_side": n_side,
                "precision": precision,
                "form": case.form,
                "window": f"{case.batch} x {case.patch}^3",
                "n_kept": n,
                "seconds_per_voxel": cost,
                "time_over_ours": cost / costs[0],
            }
            for case, n, cost in zip((tile, patches), kept, costs, strict=True)
        ]
    return rows


@torch.no_grad()
def check_parity(options: argparse.Namespace) -> list[Row]:
    """Compare our U-Net's output with that of the authors' code, given the same weights."""
    rows: list[Row] = []
    for n_side in options.n_side:
        own = Case("unet", OURS, n_side, "float32", training=False, patch=options.patch)
        own = replace(own, filters=options.filters, reference=options.reference)
        if own.n_level < 2:
            continue
        ours, theirs = (build_network(replace(own, form=form)).eval() for form in (OURS, AUTHORS))
        copy_weights(ours[0], theirs)  # type: ignore[index]  # a sequence that ends with softplus
        signal = torch.randn(6 * n_side**2, 1, *(options.patch,) * 3, own.n_in)
        expected = theirs(signal.permute(1, 5, 0, 2, 3, 4).contiguous())
        difference = ours(signal).permute(1, 5, 0, 2, 3, 4) - expected
        largest = float(difference.abs().max() / expected.std())
        rows.append({"part": "parity", "n_side": n_side, "difference_over_std": largest})
    return rows


def time_in_turns(
    steps: Sequence[Callable[[], object]],
    n_repeat: int,
    device: str = "cpu",
    *,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Run all steps once to warm up, then in turns; give the median seconds of each."""
    durations: list[list[float]] = [[] for _ in steps]
    for turn in range(n_repeat + 1):
        for step, own in zip(steps, durations, strict=True):
            _synchronise(device)
            start = clock()
            step()
            _synchronise(device)
            if turn > 0:
                own.append(clock() - start)
    return [statistics.median(own) for own in durations]


def _clock(options: argparse.Namespace) -> Clock:
    return time.process_time if options.cpu_time else time.perf_counter


def _measure_peak(case: Case) -> float:
    if torch.device(case.device).type == "cuda":
        return peak_cuda_memory_mib(build_step(case))
    return peak_memory_mib(build_step, case)


def _ratio(peak: float | None, own: float | None) -> float | None:
    return None if peak is None or not own else peak / own


def _synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _make_cases(options: argparse.Namespace) -> list[Case]:
    forms = [*options.forms, *([AUTHORS] if options.reference else [])]
    return [
        case
        for part, n_side, precision, step, form in product(
            options.parts, options.n_side, options.precisions, options.steps, forms
        )
        if (
            case := Case(
                part,
                form,
                n_side,
                precision,
                training=step == "training",
                patch=options.patch,
                batch=options.batch,
                filters=options.filters,
                device=options.device,
                reference=options.reference,
            )
        )
        # Their U-Net has two levels or more.
        and not (form == AUTHORS and part == "unet" and case.n_level < 2)
    ]


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    ours_and_ladder = [form for form in LABELS if form != AUTHORS]

    def several(flag: str, choices: list[str]) -> None:
        parser.add_argument(flag, nargs="+", choices=choices, default=choices)

    several("--parts", ["layer", "unet"])
    several("--forms", ours_and_ladder)
    several("--precisions", ["float32", "bfloat16"])
    several("--steps", ["forward", "training"])
    parser.add_argument("--n-side", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--patch", type=int, default=8, help="voxels along an edge")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument(
        "--tile",
        type=int,
        default=24,
        help="of whole-volume prediction, voxels; by default it takes about 17 GiB in float32, "
        "half of that in bfloat16, and memory grows with the cube of tile + 2 halo",
    )
    parser.add_argument("--halo", type=int, default=4, help="around it, voxels")
    parser.add_argument("--voxel-batch", type=int, default=_PAPER_BATCH, help="patches at a time")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; default: all cores")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the processor's seconds: for one thread on a machine that others use, too",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="clone of the authors' code")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--skip-voxels", action="store_true", help="no cost per brain voxel")
    add_output_arguments(parser)
    return parser


if __name__ == "__main__":
    main()
