"""Peaks, scalar maps, streamlines."""
