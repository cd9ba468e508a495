"""The program `shd-bids-slurm`: print the batch script for arrays of jobs."""

import sys
from importlib.resources import files


def main() -> int:
    """Print the script, to be kept as a file and given to sbatch."""
    sys.stdout.write(files("shd_bids.data").joinpath("slurm_array.sh").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
