"""From the T1w image to a template and back: affine, then symmetric diffeomorphic."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from dipy.align import VerbosityLevels
from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
from dipy.align.metrics import CCMetric
from jaxtyping import Float

from .registration import register
from .resampling import resample
from .transforms import chain, from_field, from_matrix
from .volume import Grid, Volume

_EDGE_MM = 2.0
_N_ITERATIONS = [40, 20, 5]  # on voxels of 8, 4 and 2 mm
_RADIUS_VOX = 2


@dataclass(frozen=True, eq=False)
class Normalisation:
    """How a T1w image and a template fit onto each other.

    Parameters
    ----------
    matrix
        From T1w to template: points of the template to points of the T1w image, RAS+ mm.
    forward_mm, backward_mm
        Displacement in template space, RAS+ mm, of points of the template before the matrix, and
        its inverse.
    grid
        Of both displacements.
    """

    matrix: Float[np.ndarray, "4 4"]
    forward_mm: Float[np.ndarray, "x y z 3"]
    backward_mm: Float[np.ndarray, "x y z 3"]
    grid: Grid

    def to_template(self) -> sitk.Transform:
        """Give the transform from T1w to template."""
        return chain(from_field(self.forward_mm, self.grid.affine), from_matrix(self.matrix))

    def from_template(self) -> sitk.Transform:
        """Give the transform from template to T1w."""
        field = from_field(self.backward_mm, self.grid.affine)
        return chain(from_matrix(np.linalg.inv(self.matrix)), field)


def normalise(t1w: Volume, template: Volume) -> Normalisation:
    """Fit a T1w image to a template.

    Both show the same: the head, or the brain alone. After the affine registration, SyN (Avants
    et al., Medical Image Analysis 12, 2008) climbs the local cross-correlation on voxels of 2 mm.

    Parameters
    ----------
    t1w
        Free of bias.
    template
        Its contrast is that of a T1w image.

    Returns
    -------
    Normalisation
        Both ways.
    """
    matrix = register(template, t1w, model="affine")
    grid = template.grid.with_voxels(_EDGE_MM)
    static = resample(template, sitk.Transform(), grid)
    moving = resample(t1w, from_matrix(matrix), grid)
    syn = SymmetricDiffeomorphicRegistration(
        CCMetric(3, radius=_RADIUS_VOX), level_iters=_N_ITERATIONS
    )
    syn.verbosity = VerbosityLevels.NONE  # type: ignore[attr-defined]  # made at run time
    warp = syn.optimize(
        _unit(static), _unit(moving), static_grid2world=grid.affine, moving_grid2world=grid.affine
    )
    forward, backward = (
        np.asarray(field, dtype=np.float32)
        for field in (warp.get_forward_field(), warp.get_backward_field())
    )
    return Normalisation(matrix, forward, backward, grid)


def _unit(data: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """Scale by a high percentile of what is not background."""
    seen = data[data > 0]
    return (data / np.percentile(seen, 99)).astype(np.float32) if seen.size else data
