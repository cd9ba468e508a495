"""What every deconvolution gives, whichever model made it."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

#: A tissue that fills its voxel has this l=0 coefficient (MRtrix3's scale).
UNIT_COEFFICIENT = 1.0 / np.sqrt(4.0 * np.pi)

TISSUES = ("WM", "GM", "CSF")


@dataclass(frozen=True)
class FodfSolution:
    """Fibre orientations and isotropic tissues of one scan.

    Attributes
    ----------
    model
        Label used in file names: ``shdtv``, ``shd``, ``csd``, ``msmtcsd``, ``rumba`` or
        ``rumbatv``.
    fodf_sh
        White matter fODF, even real SH coefficients in the MRtrix3 basis and RAS axes,
        zero outside the mask.
    tissue
        The l=0 coefficient of ``GM`` and ``CSF``, in the scale of ``fodf_sh``; a tissue that the
        model does not have is absent.
    rmse
        Root mean squared residual over the volumes, divided by the b=0 signal of the white matter
        response.
    fibre_lobe
        Share of a delta function's coefficients that the fODF of one fibre has, by even degree;
        None where it has all of them.
    """

    model: str
    fodf_sh: Float[np.ndarray, "x y z coef"]
    rmse: Float[np.ndarray, "x y z"]
    tissue: dict[str, np.ndarray] = field(default_factory=dict)
    fibre_lobe: tuple[float, ...] | None = None

    @property
    def fractions(self) -> dict[str, np.ndarray]:
        """Volume fractions of the tissues of this model, summing to 1 where there is signal."""
        amount = {"WM": self.fodf_sh[..., 0], **self.tissue}
        amount = {name: np.clip(value, 0.0, None) for name, value in amount.items()}
        total = np.sum(list(amount.values()), axis=0)
        total = np.where(total > 0, total, 1.0)
        return {name: (value / total).astype(np.float32) for name, value in amount.items()}
