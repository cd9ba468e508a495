"""Response functions on disk: MRtrix3's text, one row of zonal coefficients per shell."""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from shd_bids.bids.files import write_text
from shd_bids.bids.json_files import read_json_object
from shd_bids.errors import BidsDataError, ResponseError

LOGGER = logging.getLogger(__name__)

#: A shell of the file and one of the data are the same when they differ by less than this (s/mm²).
SHELL_MATCH_TOLERANCE = 80.0

TISSUES = ("WM", "GM", "CSF")


@dataclass(frozen=True)
class Response:
    """Signal of a voxel that one tissue fills, with its fibres (if any) along z.

    Attributes
    ----------
    tissue
        ``WM``, ``GM`` or ``CSF``.
    bvals
        Shells, ascending, the first is b=0 (s/mm²).
    coefficients
        Zonal SH coefficients of degree 0, 2, 4, ... per shell, MRtrix3 scale, scanner units.
    """

    tissue: str
    bvals: Float[np.ndarray, " shell"]
    coefficients: Float[np.ndarray, "shell degree"]

    @property
    def lmax(self) -> int:
        """Highest degree that is stored."""
        return 2 * (self.coefficients.shape[1] - 1)

    def isotropic_signal(self, shell: int) -> float:
        """Give the signal of a shell averaged over all directions, in scanner units.

        Examples
        --------
        >>> Response("CSF", np.array([0.0]), np.array([[np.sqrt(4 * np.pi)]])).isotropic_signal(0)
        1.0
        """
        return float(self.coefficients[shell, 0] / np.sqrt(4.0 * np.pi))

    def to_lmax(self, lmax: int) -> Float[np.ndarray, "shell degree"]:
        """Give the coefficients up to ``lmax``, cut or filled with zeros."""
        n_degree = lmax // 2 + 1
        kept = self.coefficients[:, :n_degree]
        return np.pad(kept, ((0, 0), (0, n_degree - kept.shape[1])))


def read_response(file: Path, tissue: str, shell_bvals: Float[np.ndarray, " shell"]) -> Response:
    """Read a response from MRtrix3 text and match its rows to the data's shells.

    When the file names its shells (``# Shells: 0,1000``) and has rows that the data lack, the
    matching rows are kept; otherwise there must be one row per shell, in ascending order.

    Parameters
    ----------
    file
        Text file: a row per shell, columns l = 0, 2, 4, ...
    tissue
        ``WM``, ``GM`` or ``CSF``.
    shell_bvals
        Shells of the data, ascending, b=0 first (s/mm²).

    Returns
    -------
    Response
        With the b-values of the data.

    Raises
    ------
    ResponseError
        When the file is missing, is not a table of numbers, or does not fit the shells.
    """
    rows, named_shells = _parse_rows(file)
    expected = _list_bvals(shell_bvals)
    if named_shells is not None and len(named_shells) == len(rows):
        rows = _match_rows(rows, named_shells, shell_bvals, file)
    elif len(rows) != len(shell_bvals):
        raise ResponseError(
            f"{file} holds {len(rows)} rows, one per shell, but the data have {len(shell_bvals)} "
            f"shells (b = {expected}). Give a response that was estimated with the same shells, "
            "or leave --response out to estimate it from the data."
        )
    if tissue not in TISSUES:
        raise ResponseError(f"{file}: unknown tissue {tissue!r}; expected WM, GM or CSF.")
    if tissue != "WM":
        if rows[:, 1:].any():
            LOGGER.warning("%s: a %s response is isotropic, only l=0 is kept.", file, tissue)
        rows = rows[:, :1]
    response = Response(tissue, np.asarray(shell_bvals, dtype=float), rows)
    _check_response(response, file)
    return response


def is_average(file: Path) -> bool:
    """Tell whether a response is a study's, by the sidecar that the group level wrote."""
    return "NumberOfSeries" in _read_sidecar(file)


def was_estimated(file: Path) -> bool | None:
    """Tell whether a response was estimated from its series or given to a run; None if unknown.

    Parameters
    ----------
    file
        As the participant level wrote it, whose sidecar tells.
    """
    fields = _read_sidecar(file)
    return "NumberOfVoxels" in (fields.get("Settings") or {}) if fields else None


def read_shells(file: Path) -> Float[np.ndarray, " shell"]:
    """Read which shells a response was estimated with, from the head of the file.

    Parameters
    ----------
    file
        As `write_response` or MRtrix3 wrote it.

    Returns
    -------
    Float[np.ndarray, " shell"]
        b-values, ascending (s/mm²).

    Raises
    ------
    ResponseError
        When the file cannot be read or does not name a shell for each of its rows.
    """
    rows, shells = _parse_rows(file)
    if shells is None or len(shells) != len(rows):
        raise ResponseError(
            f"{file} does not name its shells; expected a first line such as '# Shells: 0,1000' "
            f"with one b-value for each of {len(rows)} rows. Estimate the response again."
        )
    return shells


def write_response(response: Response, file: Path) -> None:
    """Write a response as MRtrix3 text, with its shells in the header.

    Parameters
    ----------
    response
        What to write.
    file
        Text file; it is replaced.
    """
    lines = [f"# Shells: {','.join(str(round(b)) for b in response.bvals)}"]
    lines += [" ".join(f"{value:.10g}" for value in row) for row in response.coefficients]
    write_text(file, "\n".join(lines) + "\n")


def _read_sidecar(file: Path) -> dict[str, Any]:
    """Read the sidecar of a response; nothing where there is none, or somebody else's."""
    try:
        return read_json_object(file.with_suffix(".json"))
    except BidsDataError:
        return {}


def _parse_rows(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ResponseError(
            f"The response {file} cannot be read ({error}). Expected a text file as MRtrix3's "
            "dwi2response writes it; check the path given to --response."
        ) from error
    header = re.search(r"^#\s*shells:\s*([-+.\deE,\s]+?)\s*$", text, re.MULTILINE | re.IGNORECASE)
    lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    try:
        named = np.array([float(b) for b in header[1].split(",")]) if header else None
        rows = [[float(value) for value in line] for line in lines if line]
    except ValueError as error:
        raise ResponseError(
            f"{file} is not a response ({str(error)[:100]}). Expected rows of numbers, one per "
            "shell, as MRtrix3's dwi2response writes them."
        ) from error
    if not rows:
        raise ResponseError(f"{file} holds no numbers; expected one row per shell.")
    n_degree = max(map(len, rows))
    return np.array([row + [0.0] * (n_degree - len(row)) for row in rows]), named


def _match_rows(
    rows: np.ndarray, named: np.ndarray, shell_bvals: np.ndarray, file: Path
) -> np.ndarray:
    distance = np.abs(named[:, None] - shell_bvals[None, :])
    nearest = np.argmin(distance, axis=0)
    missing = distance.min(axis=0) > SHELL_MATCH_TOLERANCE
    if missing.any():
        raise ResponseError(
            f"{file} holds {len(rows)} rows for the shells b = {_list_bvals(named)}, but the data "
            f"have {len(shell_bvals)} shells (b = {_list_bvals(shell_bvals)}); none matches "
            f"b = {_list_bvals(shell_bvals[missing])}. Give a response that was estimated with "
            "the same shells, or leave --response out to estimate it from the data."
        )
    if len(rows) > len(shell_bvals):
        LOGGER.warning(
            "%s: kept the rows b = %s of b = %s.",
            file,
            _list_bvals(named[nearest]),
            _list_bvals(named),
        )
    return rows[nearest]


def _check_response(response: Response, file: Path) -> None:
    means = response.coefficients[:, 0]
    if not np.isfinite(response.coefficients).all():
        raise ResponseError(
            f"{file} holds NaN or infinite values; expected finite numbers. Estimate the response "
            "again, or leave --response out."
        )
    if means[0] <= 0 or (means < 0).any():
        raise ResponseError(
            f"{file} has the l=0 coefficients {', '.join(f'{mean:g}' for mean in means)}; expected "
            "a positive number for b=0 and none below zero. Check that the rows go from b=0 up."
        )


def _list_bvals(bvals: np.ndarray) -> str:
    return ", ".join(f"{b:.0f}" for b in bvals)
