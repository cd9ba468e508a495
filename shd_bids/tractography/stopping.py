"""Where streamlines may go and where they may end, from the deconvolution's own tissues.

Streamlines run through white matter and stop where its fraction falls below a threshold. With three
tissues the place of the stop is judged: in cerebrospinal fluid the streamline is rejected, in grey
matter or at the border of the image it is kept. With white matter and CSF alone the two fractions
sum to one, so that a cortical voxel, which looks like a mixture of both, cannot be told from the
edge of a ventricle: there every stop is kept. With white matter alone the integral of the fODF
stands for the fraction.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates

from .scalars import afd_max, afd_total

_MAX_END_CSF = 0.5


def white_matter_map(
    fodf_sh: Float[np.ndarray, "x y z coef"],
    mask: Bool[np.ndarray, "x y z"],
    fractions: Mapping[str, np.ndarray],
    *,
    min_amplitude: float = 0.1,
) -> Float[np.ndarray, "x y z"]:
    """Return how much white matter there is to be followed.

    Parameters
    ----------
    fodf_sh
        SH coefficients, MRtrix3 basis, MRtrix3 scale.
    mask
        Brain mask.
    fractions
        Maps (x, y, z) of ``WM``, ``GM`` and ``CSF``, summing to 1. A tissue that is absent, or zero
        everywhere, was not in the model.
    min_amplitude
        Where the fODF stays below this everywhere there is no fibre to follow.

    Returns
    -------
    white_matter
        0 to 1, float32, zero outside the mask.
    """
    others = [name for name in ("GM", "CSF") if _is_present(fractions, name)]
    if others and _is_present(fractions, "WM"):
        white_matter = np.asarray(fractions["WM"], dtype=np.float32)
    else:
        white_matter = afd_total(fodf_sh)
    follow = mask & (afd_max(fodf_sh, mask) >= min_amplitude)
    return np.where(follow, np.clip(np.nan_to_num(white_matter), 0.0, 1.0), 0.0).astype(np.float32)


def fluid_map(fractions: Mapping[str, np.ndarray]) -> Float[np.ndarray, "x y z"] | None:
    """Return the CSF fraction if it tells fluid from grey matter, otherwise None."""
    if _is_present(fractions, "GM") and _is_present(fractions, "CSF"):
        return np.nan_to_num(np.asarray(fractions["CSF"], dtype=np.float32))
    return None


def ends_in_fluid(
    stops_vox: Float[np.ndarray, "stop 3"], fluid: Float[np.ndarray, "x y z"]
) -> Bool[np.ndarray, " stop"]:
    """Say which stops lie in voxels that are mostly CSF.

    Parameters
    ----------
    stops_vox
        Where streamlines stopped, in voxel indices.
    fluid
        CSF fraction.

    Returns
    -------
    in_fluid
        One truth value per stop; outside the image the nearest voxel decides.
    """
    csf = map_coordinates(fluid, stops_vox.T, order=1, mode="nearest")
    return csf > _MAX_END_CSF


def _is_present(fractions: Mapping[str, np.ndarray], tissue: str) -> bool:
    return tissue in fractions and bool(np.any(fractions[tissue] > 0))
