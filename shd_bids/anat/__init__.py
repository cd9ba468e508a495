"""Structural images: brain, tissues, and the way between T1w, diffusion images and template."""
