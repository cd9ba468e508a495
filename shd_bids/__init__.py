"""BIDS App for diffusion MRI: preprocessing, SHD-TV fODFs, tractography and reports."""

__version__ = "0.1.0"
