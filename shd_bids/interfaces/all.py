"""Every interface, imported at once by the server that the nodes' processes are forked from."""

from . import deconvolution, derivatives, preproc, quality, response, sidecars, tractography

__all__ = [
    "deconvolution",
    "derivatives",
    "preproc",
    "quality",
    "response",
    "sidecars",
    "tractography",
]
