"""Command line: flags in, exit code out."""
