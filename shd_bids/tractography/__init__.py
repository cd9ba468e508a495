"""From fODFs to peaks, maps and streamlines; from those to weights, connectomes and bundles."""
