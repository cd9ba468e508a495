"""Sizes and schedules of the network: how much accuracy for how much time."""

from dataclasses import dataclass
from typing import Any

from shd_bids.errors import ConfigError
from shd_bids.sphere.harmonics import largest_degree

#: What sets the network of a model apart from that of SHD (and SHD-TV).
VARIANTS: dict[str, dict[str, Any]] = {"esd": {"spatial": False}, "rt-esd": {"form": "sphere"}}

#: A study is trained for as many times the steps of one scan as it has scans, up to this.
_MOST_SCANS_WORTH_STEPS = 8


@dataclass(frozen=True)
class Preset:
    """A network and its training schedule.

    Attributes
    ----------
    n_side
        HEALPix resolution of the network: 6 n_side^2 vertices.
    n_level
        Levels of the U-Net, halving sphere and space together.
    filters
        Channels at full resolution.
    n_order
        Chebyshev terms of each convolution.
    patch
        Edge of a training patch in voxels, a multiple of 2^(n_level - 1).
    batch
        Patches per step.
    steps
        Training steps.
    learning_rate
        Peak of the one-cycle schedule.
    hidden_parts, hidden_views
        In how many parts the directions are dealt, and how many of these are hidden from the
        network, one at a time, and predicted by it; no views show all and predict what was seen.
    shown_directions
        Instead of all parts but one, this many directions of each shell are shown at a time: for a
        network that is trained on long scans and used on short ones. None shows all but one part.
    tile, halo
        Edge of a prediction tile's core and the margin around it, in voxels, multiples of
        2^(n_level - 1).
    loss_n_side
        HEALPix resolution on which non-negativity and sparsity are judged.
    """

    n_side: int
    n_level: int
    filters: int
    n_order: int
    patch: int
    batch: int
    steps: int
    learning_rate: float
    hidden_parts: int
    hidden_views: int
    tile: int
    halo: int
    loss_n_side: int
    shown_directions: int | None = None

    @property
    def largest_degree(self) -> int:
        """The SH degree that the vertices determine well: twice as many as coefficients."""
        return largest_degree(3 * self.n_side**2, 18)


PRESETS = {
    "fast": Preset(
        n_side=4,
        n_level=3,
        filters=16,
        n_order=5,
        patch=8,
        batch=2,
        steps=400,
        learning_rate=1.5e-3,
        hidden_parts=4,
        hidden_views=2,
        tile=24,
        halo=4,
        loss_n_side=8,
    ),
    "standard": Preset(
        n_side=8,
        n_level=3,
        filters=32,
        n_order=5,
        patch=8,
        batch=8,
        steps=1500,
        learning_rate=5e-4,
        hidden_parts=4,
        hidden_views=2,
        tile=24,
        halo=4,
        loss_n_side=16,
    ),
    "paper": Preset(
        n_side=8,
        n_level=4,
        filters=32,
        n_order=5,
        patch=8,
        batch=16,
        steps=45000,
        learning_rate=1.7e-3,
        hidden_parts=4,
        hidden_views=0,
        tile=24,
        halo=8,
        loss_n_side=16,
    ),
}


def get_preset(name: str) -> Preset:
    """Look up a preset.

    Raises
    ------
    ConfigError
        If there is no preset of that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"--shd-preset {name} is unknown; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def steps_of_study(preset: Preset, n_scan: int) -> int:
    """Give how long a network is trained for a study: longer with more scans, up to eight times.

    Examples
    --------
    >>> [steps_of_study(PRESETS["fast"], n) for n in (1, 3, 1000)]
    [400, 1200, 3200]
    """
    return preset.steps * min(n_scan, _MOST_SCANS_WORTH_STEPS)
