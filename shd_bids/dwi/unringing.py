"""Gibbs ringing, removed by sub-voxel shifts (Kellner et al., Magn. Reson. Med. 76, 2016).

Beside an edge, whether an image rings depends on where its samples fall. DIPY finds for every voxel
the shift at which its neighbourhood varies least, along both axes of the slice, and interpolates
from there. One process works on one volume: DIPY's loops hold Python's lock, so that threads do not
help.
"""

import logging
import multiprocessing
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from dipy.denoise.gibbs import gibbs_removal
from jaxtyping import Float

LOGGER = logging.getLogger(__name__)

_AXES = "ijk"
_MIN_WIDTH = 16


def remove_gibbs_ringing(
    dwi: Float[np.ndarray, "x y z volume"], *, slice_axis: int = 2, n_processes: int = 1
) -> Float[np.ndarray, "x y z volume"]:
    """Remove Gibbs ringing from the slices of a series.

    Ringing is only visible before anything interpolates the images, and after denoising.

    Parameters
    ----------
    dwi
        Scanner units, 0 or more.
    slice_axis
        The image axis across the slices: 0, 1 or 2, see `find_slice_axis`.
    n_processes
        Processes that work at once, each on one volume; 1 starts none.

    Returns
    -------
    Float[np.ndarray, "x y z volume"]
        32-bit, 0 or more.
    """
    work = partial(gibbs_removal, slice_axis=slice_axis, inplace=False)
    volumes = (np.asarray(volume, dtype=np.float32) for volume in np.moveaxis(dwi, 3, 0))
    unrung = np.empty(dwi.shape, dtype=np.float32)
    if n_processes == 1:
        _fill(unrung, map(work, volumes))
        return unrung
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        _fill(unrung, pool.map(work, volumes))
    return unrung


def find_slice_axis(metadata: Mapping[str, Any]) -> int:
    """Give the image axis across the slices, from BIDS's ``SliceEncodingDirection``.

    Examples
    --------
    >>> find_slice_axis({"SliceEncodingDirection": "j-"}), find_slice_axis({})
    (1, 2)
    """
    return _AXES.index(str(metadata.get("SliceEncodingDirection", "k"))[0])


def why_not_unring(metadata: Mapping[str, Any], shape: tuple[int, ...]) -> str | None:
    """Say why sub-voxel shifts do not suit a series, or nothing where they do.

    Partial Fourier sampling widens the ringing along the phase axis, and the shifts that would
    remove it are not the ones this method seeks (Lee et al., Magn. Reson. Med. 86, 2021).

    Parameters
    ----------
    metadata
        Its sidecar.
    shape
        Of its images.

    Returns
    -------
    str or None
        A clause for the log and the report.

    Examples
    --------
    >>> why_not_unring({"PartialFourier": 0.75}, (96, 96, 60))
    'partial Fourier sampling (0.75 of k-space) rings in another way than the method removes'
    >>> why_not_unring({"PartialFourier": 1}, (96, 96, 60)) is None
    True
    """
    sampled = metadata.get("PartialFourier", 1)
    if isinstance(sampled, int | float) and 0 < sampled < 1:
        return (
            f"partial Fourier sampling ({sampled:g} of k-space) rings in another way than the "
            "method removes"
        )
    across = find_slice_axis(metadata)
    width = min(n for axis, n in enumerate(shape[:3]) if axis != across)
    if width < _MIN_WIDTH:
        return f"the slices across axis {_AXES[across]} are only {width} voxels wide"
    return None


def _fill(
    series: Float[np.ndarray, "x y z volume"],
    volumes: Iterable[Float[np.ndarray, "x y z"]],
) -> None:
    for index, volume in enumerate(volumes):
        series[..., index] = volume
        LOGGER.debug("Gibbs ringing removed from volume %d.", index)
