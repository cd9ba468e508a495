"""Mathematics of the sphere: harmonics, HEALPix grids, graphs and rotations."""
