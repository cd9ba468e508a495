"""The deconvolutions that are measured against each other, under one call."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shd_bids.deconvolution.classical import fit_csd, fit_msmt_csd
from shd_bids.deconvolution.fit import SHD_LABELS, fit_shd
from shd_bids.deconvolution.presets import Preset, get_preset
from shd_bids.deconvolution.rumba import fit_rumba
from shd_bids.deconvolution.solution import FodfSolution

from .mrtrix import fit_mrtrix, mrtrix_is_installed
from .scan import Scan

SHD_MODELS = tuple(SHD_LABELS)
_ON_REQUEST = ("esd", "rt-esd")  # the paper's ablations


@dataclass(frozen=True)
class FitOptions:
    """How to fit; a model takes what it knows."""

    preset: str = "fast"
    n_step: int | None = None  # of training; by default the preset's
    device: str = "cpu"
    precision: str = "auto"
    random_seed: int = 0
    lmax: int = 8
    n_threads: int = 1
    work_dir: Path | None = None

    def network(self) -> Preset:
        """Give the preset with the number of steps that was asked for."""
        preset = get_preset(self.preset)
        return preset if self.n_step is None else replace(preset, steps=self.n_step)


Fit = Callable[[Scan, FitOptions], FodfSolution]


def _fit_shd(model: str) -> Fit:
    def fit(scan: Scan, options: FitOptions) -> FodfSolution:
        return fit_shd(
            *_arguments(scan),
            affine=scan.affine,
            model=model,
            preset=options.network(),
            lmax=options.lmax,
            device=options.device,
            precision=options.precision,
            random_seed=options.random_seed,
            n_threads=options.n_threads,
        ).solution

    return fit


def _fit_rumba(*, total_variation: bool) -> Fit:
    def fit(scan: Scan, options: FitOptions) -> FodfSolution:
        return fit_rumba(
            *_arguments(scan),
            lmax=options.lmax,
            total_variation=total_variation,
            n_threads=options.n_threads,
        )

    return fit


def _fit_classical(solve: Callable[..., FodfSolution]) -> Fit:
    def fit(scan: Scan, options: FitOptions) -> FodfSolution:
        return solve(*_arguments(scan), lmax=options.lmax, n_threads=options.n_threads)

    return fit


def _fit_mrtrix(algorithm: str) -> Fit:
    def fit(scan: Scan, options: FitOptions) -> FodfSolution:
        return fit_mrtrix(scan, algorithm, n_threads=options.n_threads, work_dir=options.work_dir)

    return fit


def _arguments(scan: Scan) -> tuple:
    return scan.dwi, scan.gradients, scan.shells, scan.mask, scan.responses


MODELS: dict[str, Fit] = {
    **{model: _fit_shd(model) for model in SHD_MODELS},
    "csd": _fit_classical(fit_csd),
    "msmt-csd": _fit_classical(fit_msmt_csd),
    "rumba": _fit_rumba(total_variation=False),
    "rumba-tv": _fit_rumba(total_variation=True),
    "mrtrix-csd": _fit_mrtrix("csd"),
    "mrtrix-msmt-csd": _fit_mrtrix("msmt_csd"),
}


def default_models() -> list[str]:
    """Give the models that are measured unless others are named: MRtrix3's only where installed."""
    return [
        name
        for name in MODELS
        if name not in _ON_REQUEST and (not name.startswith("mrtrix") or mrtrix_is_installed())
    ]
