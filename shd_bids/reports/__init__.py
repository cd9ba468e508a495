"""Figures, quality measures and the HTML report."""
