"""Diffusion-weighted data: gradients, shells, denoising, masks and their checks."""
