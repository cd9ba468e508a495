"""Do the gradient directions belong to the images? Fibres tell: they lead into themselves.

If axes of the gradient table are swapped or flipped, the directions fitted to the images no longer
point along the bundles that the images show. There are 24 ways to permute the image axes and flip
one of them (a direction and its opposite are the same); for each we ask how much of the anisotropy
found one, two and three voxels further along a fibre points the way of the fibre. The idea is the
fibre coherence index of Schilling et al. (Magn. Reson. Imaging 58, 2019) and MRtrix3's
``dwigradcheck``. A tensor turns with the table, so that one fit serves all.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from jaxtyping import Bool, Float, Int
from nibabel.affines import voxel_sizes
from scipy import ndimage

from .gradients import GradientTable
from .shells import Shells

LOGGER = logging.getLogger(__name__)

_LOWEST_BVAL = 700.0  # s/mm²; a tensor shows little below
_MIN_ANISOTROPY, _MAX_ANISOTROPY = 0.25, 0.99
_STEPS_VOX = (1.0, 2.0, 3.0)
_MAX_VOXELS = 20_000
_MIN_VOXELS = 200
_BLOCK_MM = 12.0  # neighbours are no independent witnesses, blocks are
_MIN_BLOCKS = 10
_SURE_RIGHT, _SURE_WRONG = 2.0, 4.0  # standard errors: a false alarm costs more than a doubt
_LETTERS = "xyz"


def _axis_changes() -> Float[np.ndarray, "change 3 3"]:
    changes = []
    for order in permutations(range(3)):
        for flipped in (None, 0, 1, 2):
            change = np.eye(3)[list(order)]
            if flipped is not None:
                change[flipped] *= -1
            changes.append(change)
    return np.stack(changes)


AXIS_CHANGES = _axis_changes()
"""The 24 candidates, in image axes; the first is the identity."""


@dataclass(frozen=True, eq=False)
class OrientationCheck:
    """How coherent fibres are under every change of the gradient table's axes.

    ``lead`` says by how many standard errors the table as given beats each candidate (0 against
    itself); ``rows`` what the rows of the ``.bvec`` file would be, in terms of those given.
    """

    coherence: Float[np.ndarray, " change"]
    lead: Float[np.ndarray, " change"]
    rows: tuple[str, ...]
    n_voxel: int
    n_block: int

    @property
    def best(self) -> int:
        """Index of the most coherent candidate; 0 is the table as given."""
        return int(np.argmax(self.coherence))

    @property
    def runner_up(self) -> int:
        """Index of the most coherent candidate other than the table as given."""
        return 1 + int(np.argmax(self.coherence[1:]))

    @property
    def can_tell(self) -> bool:
        """Whether the table is surely right or surely wrong."""
        return self.is_right or self.is_wrong

    @property
    def is_right(self) -> bool:
        """Whether the table as given is better than every other beyond doubt."""
        return self._enough and self.best == 0 and bool(self.lead[1:].min() >= _SURE_RIGHT)

    @property
    def is_wrong(self) -> bool:
        """Whether another table is better than the given one beyond doubt."""
        return self._enough and self.best != 0 and bool(self.lead[self.best] <= -_SURE_WRONG)

    @property
    def _enough(self) -> bool:
        return self.n_voxel >= _MIN_VOXELS and self.n_block >= _MIN_BLOCKS

    def measures(self) -> dict[str, float | int]:
        """Give the verdict and what it rests on as columns of ``image_qc``."""
        return {
            "gradient_check": int(self.is_right) - int(self.is_wrong),
            "gradient_coherence": float(self.coherence[0]),
            "gradient_coherence_other": float(self.coherence[self.runner_up]),
            "gradient_lead": float(self.lead[self.runner_up]),
        }

    def fields(self) -> dict[str, Any]:
        """Give the verdict as fields of a sidecar."""
        return {
            "Verdict": self.describe(),
            "Warning": self.is_wrong,
            "FibreCoherence": float(self.coherence[0]),
            "BestOther": {
                "BvecRows": self.rows[self.runner_up],
                "FibreCoherence": float(self.coherence[self.runner_up]),
                "StandardErrorsBelow": float(self.lead[self.runner_up]),
            },
        }

    def describe(self) -> str:
        """Give the verdict in words, for log and report."""
        given, other = self.coherence[0], self.coherence[self.runner_up]
        if self.is_right:
            return (
                f"The gradient directions fit the images: fibre coherence is {given:.3f} with the "
                f"table as given and {other:.3f} with the next best of 23 changed ones."
            )
        if self.is_wrong:
            return (
                "THE GRADIENT DIRECTIONS DO NOT FIT THE IMAGES: fibre coherence is "
                f"{given:.3f} with the table as given, but {self.coherence[self.best]:.3f} if the "
                f"rows of the .bvec file were {self.rows[self.best]} "
                f"({-self.lead[self.best]:.1f} standard errors). Nothing was changed. Look how "
                "fibres run in the report; if they leave the white matter, correct the .bvec files "
                "of the input dataset in this way and run again."
            )
        if not self._enough:
            return (
                "Whether the gradient directions fit the images cannot be told: "
                f"{self.n_voxel} voxels with clear fibres in {self.n_block} places, expected at "
                f"least {_MIN_VOXELS} in {_MIN_BLOCKS}."
            )
        return (
            "Whether the gradient directions fit the images cannot be told: fibre coherence is "
            f"{given:.3f} with the table as given and {other:.3f} if the rows of the .bvec file "
            f"were {self.rows[self.runner_up]}, too little apart for these data."
        )


def check_orientation(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
) -> OrientationCheck:
    """Compare the gradient table with all flips and permutations of its axes.

    Parameters
    ----------
    dwi
        Scanner units.
    gradients, shells
        Of its volumes.
    mask
        The brain.
    affine
        Voxel to RAS mm.

    Returns
    -------
    OrientationCheck
        What was found; nothing is changed.
    """
    sizes = voxel_sizes(affine)
    anisotropy, along_ras = _fit_tensors(dwi, gradients, shells, mask)
    direction = np.linalg.solve(affine[:3, :3] / sizes, along_ras.T).T  # along the image's axes
    rank = np.full(mask.shape, -1)
    rank[mask] = np.arange(len(anisotropy))
    clear = (anisotropy > _MIN_ANISOTROPY) & (anisotropy < _MAX_ANISOTROPY)
    clear &= ndimage.binary_erosion(mask, border_value=1)[mask]
    chosen = np.flatnonzero(clear)
    if len(chosen) > _MAX_VOXELS:
        chosen = np.random.default_rng(0).choice(chosen, _MAX_VOXELS, replace=False)
    places = np.argwhere(mask)[chosen]
    gains = np.stack(
        [
            _follow(change, chosen, places, rank, anisotropy, direction, sizes)
            for change in AXIS_CHANGES
        ]
    )  # (change, voxel)
    whole = max(float(anisotropy[chosen].sum()), 1e-9)
    blocks = (places // np.maximum(np.round(_BLOCK_MM / sizes), 1)).astype(np.int64)
    _, block = np.unique(blocks, axis=0, return_inverse=True)
    result = OrientationCheck(
        coherence=gains.sum(axis=1) / whole,
        lead=np.array([_standard_errors(gains[0] - gain, block.ravel()) for gain in gains]),
        rows=tuple(_bvec_rows(change, affine) for change in AXIS_CHANGES),
        n_voxel=len(chosen),
        n_block=int(block.max(initial=-1)) + 1,
    )
    LOGGER.log(logging.WARNING if result.is_wrong else logging.INFO, "%s", result.describe())
    return result


def _fit_tensors(
    dwi: Float[np.ndarray, "x y z volume"],
    gradients: GradientTable,
    shells: Shells,
    mask: Bool[np.ndarray, "x y z"],
) -> tuple[Float[np.ndarray, " voxel"], Float[np.ndarray, "voxel 3"]]:
    """Give anisotropy and main direction in the mask, from the lowest shell that shows fibres."""
    shell = min(int(np.searchsorted(shells.bvals, _LOWEST_BVAL)), shells.n_shell - 1)
    volumes = np.flatnonzero((shells.index == 0) | (shells.index == shell))
    weighted = shells.index[volumes] > 0
    table = gradient_table(
        gradients.bvals[volumes] * weighted,
        bvecs=gradients.bvecs_ras[volumes] * weighted[:, None],
        b0_threshold=0,
    )
    signal = dwi[mask][:, volumes].astype(np.float64)
    floor = 1e-3 * signal.max(axis=1, keepdims=True, initial=1e-6)
    fit = TensorModel(table, fit_method="OLS").fit(np.maximum(signal, floor))
    return np.nan_to_num(fit.fa), np.nan_to_num(fit.evecs[..., 0])


def _follow(
    change: Float[np.ndarray, "3 3"],
    chosen: Int[np.ndarray, " chosen"],
    places: Int[np.ndarray, "chosen 3"],
    rank: Int[np.ndarray, "x y z"],
    anisotropy: Float[np.ndarray, " voxel"],
    direction: Float[np.ndarray, "voxel 3"],
    sizes: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, " chosen"]:
    """Give each voxel the anisotropy along its own direction, in the mean over the steps."""
    own = direction[chosen]
    step_vox = own @ change.T * (sizes.mean() / sizes)
    gain = np.zeros(len(chosen))
    for length in (*_STEPS_VOX, *(-step for step in _STEPS_VOX)):
        at = np.rint(places + length * step_vox).astype(np.int64)
        inside = ((at >= 0) & (at < rank.shape)).all(axis=1)
        there = np.full(len(chosen), -1)
        there[inside] = rank[tuple(at[inside].T)]
        found = there >= 0
        cosine = np.abs((own[found] * direction[there[found]]).sum(axis=1))
        gain[found] += cosine * anisotropy[there[found]]
    return gain / (2 * len(_STEPS_VOX))


def _standard_errors(
    difference: Float[np.ndarray, " voxel"], block: Int[np.ndarray, " voxel"]
) -> float:
    """Say how far a sum lies from 0, blocks of voxels being independent."""
    sums = np.bincount(block, difference)
    return float(sums.sum() / max(np.sqrt((sums**2).sum()), 1e-12))


def _bvec_rows(change: Float[np.ndarray, "3 3"], affine: Float[np.ndarray, "4 4"]) -> str:
    """Say a change of the image axes in terms of the rows of an FSL file."""
    mirror = np.diag([-1.0 if np.linalg.det(affine[:3, :3]) > 0 else 1.0, 1, 1])
    rows = mirror @ change @ mirror
    if (rows < 0).sum() > 1:
        rows = -rows  # the opposite directions, written with fewer signs
    return ", ".join(_name_row(row) for row in rows)


def _name_row(row: Sequence[float] | Float[np.ndarray, " 3"]) -> str:
    axis = int(np.argmax(np.abs(row)))
    return ("-" if row[axis] < 0 else "") + _LETTERS[axis]
