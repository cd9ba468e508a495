"""Maps of one number, or one colour, per voxel of an fODF."""

import numpy as np
from jaxtyping import Bool, Float, Int

from shd_bids.sphere.harmonics import degree_of_count, sh_basis

from .directions import search_sphere, spiral
from .peaks import Peaks

_N_VOXEL_CHUNK = 2048
_N_QUADRATURE = 10_000


def afd_total(fodf_sh: Float[np.ndarray, "x y z coef"]) -> Float[np.ndarray, "x y z"]:
    r"""Return the integral of the fODF over the sphere, the total apparent fibre density.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis.

    Returns
    -------
    afd
        $\int f = \sqrt{4 \pi} f_{00}$: 1 in a voxel that is all white matter.

    Examples
    --------
    >>> import numpy as np
    >>> afd_total(np.full((1, 1, 1, 6), 1 / np.sqrt(4 * np.pi))).item()
    1.0
    """
    return (np.sqrt(4 * np.pi) * np.asarray(fodf_sh[..., 0])).astype(np.float32)


def afd_max(
    fodf_sh: Float[np.ndarray, "x y z coef"], mask: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z"]:
    """Return the largest amplitude of the fODF, to 2 % at degree 8.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis.
    mask
        Voxels to look at; zero elsewhere.

    Returns
    -------
    afd
        Amplitude per steradian, never negative.
    """
    vertices, _ = search_sphere()
    basis = sh_basis(vertices, degree_of_count(fodf_sh.shape[-1])).astype(np.float32)
    largest = np.zeros(mask.shape, dtype=np.float32)
    voxels = np.argwhere(mask)
    for start in range(0, len(voxels), _N_VOXEL_CHUNK):
        index = tuple(voxels[start : start + _N_VOXEL_CHUNK].T)
        amplitudes = np.nan_to_num(fodf_sh[index].astype(np.float32)) @ basis.T
        largest[index] = np.maximum(amplitudes.max(axis=1), 0.0)
    return largest


def nufo(
    peaks: Peaks, *, absolute_threshold: float = 0.1, relative_threshold: float = 0.2
) -> Int[np.ndarray, "x y z"]:
    """Return the number of fibre orientations.

    Parameters
    ----------
    peaks
        Peaks of the fODF; those that `find_peaks` dropped do not come back.
    absolute_threshold
        Smallest amplitude that counts.
    relative_threshold
        Smallest fraction of the voxel's largest amplitude that counts.

    Returns
    -------
    count
        int16.
    """
    floor = np.maximum(absolute_threshold, relative_threshold * peaks.amplitudes[..., :1])
    counts = (peaks.amplitudes > 0) & (peaks.amplitudes >= floor)
    return np.count_nonzero(counts, axis=-1).astype(np.int16)


def gfa(fodf_sh: Float[np.ndarray, "x y z coef"]) -> Float[np.ndarray, "x y z"]:
    r"""Return the generalised fractional anisotropy of the fODF (Tuch, 2004).

    Parameters
    ----------
    fodf_sh
        SH coefficients of an orthonormal basis.

    Returns
    -------
    gfa
        $\sqrt{1 - f_{00}^2 / \sum f_{lm}^2}$, 0 for an isotropic fODF and where there is none.
    """
    power = np.einsum("...c,...c->...", fodf_sh, fodf_sh, dtype=np.float64)
    isotropic = np.asarray(fodf_sh[..., 0], dtype=np.float64) ** 2
    share = np.divide(isotropic, power, out=np.ones_like(power), where=power > 0)
    return np.sqrt(np.clip(1.0 - share, 0.0, 1.0)).astype(np.float32)


def directionally_encoded_colour(
    fodf_sh: Float[np.ndarray, "x y z coef"], mask: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z 3"]:
    r"""Return the colour of the fODF (Dhollander et al., 2015).

    The colour is the direction of $\int f(u) (|u_x|, |u_y|, |u_z|) du$, so that every fibre of a
    crossing has its part in it, and its length is the total fibre density. Negative lobes count,
    as in MRtrix3 `fod2dec`: they make the truncated series of one fibre have that fibre's colour.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, RAS world axes.
    mask
        Voxels to look at; black elsewhere.

    Returns
    -------
    colour
        Red for left-right, green for front-back, blue for up-down, in scanner axes whatever the
        axes of the image; float32, not clipped.
    """
    directions = spiral(_N_QUADRATURE)
    basis = sh_basis(directions, degree_of_count(fodf_sh.shape[-1]))
    weights = (basis.T @ np.abs(directions)).astype(np.float32)  # (coef, 3)
    coefficients = np.nan_to_num(fodf_sh[mask].astype(np.float32))
    vector = np.maximum(coefficients @ weights, 0.0)
    length = np.linalg.norm(vector, axis=1, keepdims=True)
    unit = np.divide(vector, length, out=np.zeros_like(vector), where=length > 0)
    colour = np.zeros((*mask.shape, 3), dtype=np.float32)
    colour[mask] = unit * np.maximum(np.sqrt(4 * np.pi) * coefficients[:, :1], 0.0)
    return colour
