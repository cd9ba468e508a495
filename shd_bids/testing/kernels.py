"""What one fibre, grey matter and fluid give as signal, and the response that follows."""

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre

S0 = {"WM": 1000.0, "GM": 1250.0, "CSF": 2800.0}  # signal at b=0, scanner units
DIFFUSIVITY = {"GM": 0.8e-3, "CSF": 3.0e-3}  # mm²/s
_AXIAL = 1.8e-3  # mm²/s, of both compartments of a fibre
_RADIAL = 0.5e-3  # mm²/s, of the extra-axonal compartment
MEAN_INTRA_FRACTION = 0.63


def fibre_signal(
    bvals: Float[np.ndarray, "*#volume"],
    cosines: Float[np.ndarray, "*#volume"],
    intra_fraction: Float[np.ndarray, "*#volume"] | float,
) -> Float[np.ndarray, "*volume"]:
    """Attenuation of a coherent fibre: a stick inside, an axially symmetric tensor outside.

    Parameters
    ----------
    bvals
        b-values in s/mm².
    cosines
        Between gradient and fibre.
    intra_fraction
        Share of the stick.
    """
    along = bvals * cosines**2
    stick = np.exp(-_AXIAL * along)
    zeppelin = np.exp(-_RADIAL * bvals - (_AXIAL - _RADIAL) * along)
    return intra_fraction * stick + (1.0 - intra_fraction) * zeppelin


def true_responses(
    shell_bvals: Float[np.ndarray, " shell"], *, lmax: int = 10
) -> dict[str, Float[np.ndarray, "shell degree"]]:
    """Zonal coefficients of each tissue's signal, in MRtrix3's convention and scanner units.

    An isotropic signal S has the single coefficient S sqrt(4 pi). The white matter response is
    that of a fibre with the mean intra-axonal share; the bundles differ from it by a few per cent.
    """
    nodes, weights = legendre.leggauss(128)
    attenuation = fibre_signal(shell_bvals[:, None], nodes[None], MEAN_INTRA_FRACTION)
    degrees = range(0, lmax + 1, 2)
    zonal = np.stack(
        [
            np.sqrt((2 * d + 1) / (4 * np.pi)) * legendre.legval(nodes, np.eye(d + 1)[d])
            for d in degrees
        ]
    )
    responses = {"WM": S0["WM"] * 2 * np.pi * (attenuation * weights) @ zonal.T}
    for tissue, diffusivity in DIFFUSIVITY.items():
        signal = S0[tissue] * np.exp(-diffusivity * shell_bvals)
        responses[tissue] = np.sqrt(4 * np.pi) * signal[:, None]
    return responses


def add_rician_noise(
    signal: Float[np.ndarray, "*shape"], sigma: float, generator: np.random.Generator
) -> Float[np.ndarray, "*shape"]:
    """Take the magnitude of the signal plus complex Gaussian noise."""
    real = signal + sigma * generator.standard_normal(signal.shape)
    imaginary = sigma * generator.standard_normal(signal.shape)
    return np.hypot(real, imaginary)
