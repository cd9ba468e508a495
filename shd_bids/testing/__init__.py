"""Phantom data with known fibres and its scores."""
