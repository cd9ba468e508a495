"""Where streamlines may go and where they may end.

The best map of tissues that there is decides: the tissues of a T1w image; else the fractions of a
deconvolution with three tissues; else how much white matter there is.

With grey matter known, streamlines stop by the continuous map criterion of Girard et al. (2014,
NeuroImage 98:266), which is more likely to stop them the more of a voxel is not white matter, and
tells an end in grey matter from one in cerebrospinal fluid. Leaving the brain counts as grey
matter, because fibres leave through the brain stem. With white matter and CSF alone the two
fractions sum to one, so that a cortical voxel, which looks like a mixture of both, cannot be told
from the edge of a ventricle: streamlines then stop where white matter falls below a threshold or no
direction stands out, and every end is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from dipy.tracking.stopping_criterion import (
    CmcStoppingCriterion,
    StoppingCriterion,
    ThresholdStoppingCriterion,
)
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates

from shd_bids.errors import TrackingError

from .scalars import afd_max, afd_total

_STOP_THRESHOLD = 0.2
# An fODF that stays below this everywhere has no fibre to follow. Grey matter that the model took
# for white matter reaches 0.1 to 0.3 by noise, a voxel where three bundles cross 0.5.
_MIN_AMPLITUDE, _MIN_AMPLITUDE_ALONE = 0.1, 0.2
_TRACE, _FULL = 0.25, 0.9


@dataclass(frozen=True)
class Anatomy:
    """Tissues on the grid of the fODFs.

    Attributes
    ----------
    white_matter
        How much of it there is, 0 to 1; zero outside the mask and where no fibre can be followed.
    grey_matter, fluid
        How much of them there is, 0 to 1; None when they cannot be told apart.
    mask
        Brain mask.
    followed
        Where in it the fODF is high enough to be followed.
    source
        Where the tissues come from, for the sidecar.
    """

    white_matter: Float[np.ndarray, "x y z"]
    grey_matter: Float[np.ndarray, "x y z"] | None
    fluid: Float[np.ndarray, "x y z"] | None
    mask: Bool[np.ndarray, "x y z"]
    followed: Bool[np.ndarray, "x y z"]
    source: str

    @property
    def knows_grey_matter(self) -> bool:
        """Whether grey matter and CSF can be told apart."""
        return self.grey_matter is not None and self.fluid is not None

    def need_grey_matter(self, flag: str, instead: str) -> Float[np.ndarray, "x y z"]:
        """Give the map of grey matter, or refuse what cannot be done without it.

        Raises
        ------
        TrackingError
            Naming the flag and what to use instead.
        """
        if self.grey_matter is None:
            raise TrackingError(
                f"{flag} needs to know where grey matter is: a T1w image, or three tissues in the "
                "deconvolution (three or more shells, b=0 counts as one). Use "
                f"{instead}."
            )
        return self.grey_matter

    def within(self, box: tuple[slice, slice, slice]) -> "Anatomy":
        """Cut out a box."""
        return Anatomy(
            white_matter=self.white_matter[box],
            grey_matter=None if self.grey_matter is None else self.grey_matter[box],
            fluid=None if self.fluid is None else self.fluid[box],
            mask=self.mask[box],
            followed=self.followed[box],
            source=self.source,
        )


def map_anatomy(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    mask: Bool[np.ndarray, "x y z"],
    fractions: Mapping[str, np.ndarray],
    tissue: Float[np.ndarray, "x y z 3"] | None = None,
) -> Anatomy:
    """Choose the best tissue maps that there are.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, MRtrix3 scale.
    mask
        Brain mask.
    fractions
        Maps (x, y, z) of ``WM``, ``GM`` and ``CSF`` by the deconvolution, summing to 1. A tissue
        that is absent, or zero everywhere, was not in the model.
    tissue
        White matter, grey matter and CSF of a T1w image on the same grid, 0 to 1.

    Returns
    -------
    anatomy
        In float32.
    """
    amplitude = afd_max(fodf_sh, mask)
    followed = mask & (amplitude >= _MIN_AMPLITUDE)
    if tissue is not None:
        white, grey, fluid = np.clip(np.nan_to_num(np.moveaxis(tissue, -1, 0)), 0.0, 1.0)
        return _anatomy(white, grey, fluid, mask, followed, "T1w")
    present = [name for name in ("WM", "GM", "CSF") if _is_present(fractions, name)]
    if len(present) == 3:
        grey, fluid = (_without_traces(fractions[name]) for name in ("GM", "CSF"))
        return _anatomy(1.0 - grey - fluid, grey, fluid, mask, followed, "deconvolution")
    followed = mask & (amplitude >= _MIN_AMPLITUDE_ALONE)
    if "WM" in present and len(present) == 2:
        return _anatomy(fractions["WM"], None, None, mask, followed, "deconvolution")
    return _anatomy(afd_total(fodf_sh), None, None, mask, followed, "fibre density")


def _anatomy(
    white_matter: np.ndarray,
    grey_matter: np.ndarray | None,
    fluid: np.ndarray | None,
    mask: Bool[np.ndarray, "x y z"],
    followed: Bool[np.ndarray, "x y z"],
    source: str,
) -> Anatomy:
    white_matter = np.clip(np.nan_to_num(white_matter), 0.0, 1.0)
    return Anatomy(
        white_matter=np.where(followed, white_matter, 0.0).astype(np.float32),
        grey_matter=None if grey_matter is None else grey_matter.astype(np.float32),
        fluid=None if fluid is None else fluid.astype(np.float32),
        mask=mask,
        followed=followed,
        source=source,
    )


def _without_traces(fraction: np.ndarray) -> Float[np.ndarray, "x y z"]:
    """Stretch a fraction so that a quarter of a voxel or less is nothing, and nine tenths is all.

    Noise and crossings leave some grey matter in deep white matter. The criterion asks at every
    step, so that even a tenth would stop all streamlines within a few centimetres.
    """
    return np.clip((np.nan_to_num(fraction) - _TRACE) / (_FULL - _TRACE), 0.0, 1.0)


def stopping_criterion(anatomy: Anatomy, step_voxels: float) -> StoppingCriterion:
    """Build DIPY's criterion for these tissues.

    Parameters
    ----------
    anatomy
        Of the box that is tracked.
    step_voxels
        Length of a step in voxels: the longer it is, the more likely it is the last.

    Returns
    -------
    criterion
        Takes points in voxel indices.
    """
    if anatomy.grey_matter is None or anatomy.fluid is None:
        return ThresholdStoppingCriterion(anatomy.white_matter, _STOP_THRESHOLD)
    include = np.where(anatomy.mask, anatomy.grey_matter, 1.0)
    return CmcStoppingCriterion(
        include, anatomy.fluid, step_size=step_voxels, average_voxel_size=1.0
    )


def good_ends(
    stops_vox: Float[np.ndarray, "stop 3"], anatomy: Anatomy, valid_ends: str
) -> Bool[np.ndarray, " stop"]:
    """Say which stops are ends that a streamline may have.

    Parameters
    ----------
    stops_vox
        Where streamlines stopped, in voxel indices.
    anatomy
        Where it does not know grey matter, every stop is good.
    valid_ends
        ``any``; ``not-csf``, where there is not more CSF than anything else; ``grey-matter``, where
        there is more grey matter than anything else, or no brain.

    Returns
    -------
    good
        One truth value per stop; outside the image the nearest voxel decides.
    """
    if valid_ends == "any" or anatomy.fluid is None or anatomy.grey_matter is None:
        return np.ones(len(stops_vox), dtype=bool)
    grey_or_outside = np.where(anatomy.mask, anatomy.grey_matter, 1.0)
    white, grey, fluid = (
        map_coordinates(tissue, stops_vox.T, order=1, mode="nearest")
        for tissue in (anatomy.white_matter, grey_or_outside, anatomy.fluid)
    )
    if valid_ends == "not-csf":
        return (fluid <= grey) | (fluid <= white)
    return (grey > white) & (grey >= fluid)


def _is_present(fractions: Mapping[str, np.ndarray], tissue: str) -> bool:
    return tissue in fractions and bool(np.any(fractions[tissue] > 0))
