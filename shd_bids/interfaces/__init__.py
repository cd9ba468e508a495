"""Nipype nodes, one file a stage: load, call, save."""
