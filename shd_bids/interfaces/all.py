"""Every interface, imported at once by the server that the nodes' processes are forked from."""

from . import (
    corrections,
    deconvolution,
    derivatives,
    fodf_figures,
    preproc,
    preproc_figures,
    quality,
    response,
    sidecars,
    tractography,
)

__all__ = [
    "corrections",
    "deconvolution",
    "derivatives",
    "fodf_figures",
    "preproc",
    "preproc_figures",
    "quality",
    "response",
    "sidecars",
    "tractography",
]
