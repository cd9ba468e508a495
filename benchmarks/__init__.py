"""Measurements of shd-bids against its peers: speed, equivariance, accuracy, whole brains.

Each is one command, ``python -m benchmarks.<name> [--json FILE] [--figure FILE]``, which prints a
table. They are not installed with the program.
"""
