"""Spherical deconvolution: SHD-TV and the classical models."""
