"""BIDS App for diffusion MRI: preprocessing, SHD-TV fibre orientations, tractography and reports."""

__version__ = "0.1.0"
