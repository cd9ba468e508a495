"""Every interface, imported at once by the server that the nodes' processes are forked from."""

from . import (
    anat,
    anat_figures,
    corrections,
    deconvolution,
    derivatives,
    distortion,
    fodf_figures,
    ingest,
    motion,
    preproc,
    preproc_figures,
    quality,
    response,
    sidecars,
    tractography,
)

__all__ = [
    "anat",
    "anat_figures",
    "corrections",
    "deconvolution",
    "derivatives",
    "distortion",
    "fodf_figures",
    "ingest",
    "motion",
    "preproc",
    "preproc_figures",
    "quality",
    "response",
    "sidecars",
    "tractography",
]
