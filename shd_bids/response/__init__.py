"""Tissue response functions: voxel selection, estimation, MRtrix3 text files."""
