"""How distortion and motion of a series will be corrected, settled before anything runs."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shd_bids.bids.phase_encoding import PhaseEncodingFields
from shd_bids.bids.series import DwiSeries
from shd_bids.config import PreprocConfig
from shd_bids.dwi.field_estimation import NOMINAL_READOUT_S
from shd_bids.dwi.transforms import PhaseEncoding
from shd_bids.errors import BidsDataError, ConfigError

LOGGER = logging.getLogger(__name__)

Encoding = tuple[int, int, float]  # image axis, sign, readout in s: what nodes take

_USUAL = PhaseEncoding(axis=1, sign=1)


@dataclass(frozen=True)
class ReverseImage:
    """An image that serves to find the field; without b-values all of it counts as b=0."""

    file: str
    bval_file: str
    encoding: Encoding


@dataclass(frozen=True)
class GeometryPlan:
    """What is known of the acquisition, and what follows from it."""

    encodings: tuple[Encoding, ...]  # of every volume
    reverse_images: tuple[ReverseImage, ...]
    sdc: str  # reverse-phase, topup or none
    hmc: str  # leave-one-out or none
    reason: str  # for the choice of sdc, in words for the report

    def is_idle(self, preproc: PreprocConfig) -> bool:
        """Tell whether nothing has to be resampled."""
        return self.sdc == "none" and self.hmc == "none" and preproc.output_resolution is None


def plan_geometry(
    series: DwiSeries, n_volumes: Sequence[int], preproc: PreprocConfig
) -> GeometryPlan:
    """Find out what can be corrected, and with which images.

    Parameters
    ----------
    series
        Raw images.
    n_volumes
        Of each run.
    preproc
        Settings of the stage.

    Returns
    -------
    GeometryPlan
        Where readout times are not known, a nominal one stands for all: displacements do not
        depend on it as long as it is the same.

    Raises
    ------
    BidsDataError
        If distortion correction was asked for by name and cannot be done.
    ConfigError
        If FSL was asked for and is not installed.
    """
    runs = [_read(run.phase_encoding) for run in series.runs]
    name = series.runs[0].dwi_file.name
    others = [
        (run.dwi_file, str(run.bval_file), _read(run.phase_encoding))
        for run in series.reverse_phase_runs
    ]
    others += [(one.epi_file, "", _read(one.phase_encoding)) for one in series.fieldmaps]
    known = [encoding for encoding in runs if encoding is not None]
    if len(known) < len(runs):
        if preproc.hmc != "none":
            LOGGER.warning(
                "%s does not state its phase encoding: eddy currents are taken to displace along "
                "the image's second axis. Add PhaseEncodingDirection to its JSON sidecar.",
                name,
            )
        sdc, reason = "none", "its phase encoding is not known"
        known, others = [_USUAL] * len(runs), []
    elif not _has_pair([*known, *(encoding for _, _, encoding in others if encoding)]):
        sdc, reason = "none", "there is no image of opposite phase encoding"
    else:
        sdc, reason = "reverse-phase", ""
    if sdc == "none" and preproc.sdc != "none":
        reason += _explain_other_fieldmaps(series)
    if preproc.sdc in ("reverse-phase", "topup") and sdc == "none":
        raise BidsDataError(
            f"--sdc {preproc.sdc}: the distortion of {name} cannot be corrected, because {reason}. "
            "Expected a run or an fmap/*_epi image along the same axis in the opposite direction, "
            "tied to it by B0FieldIdentifier or IntendedFor. Add it, or use --sdc auto."
        )
    if preproc.sdc == "topup":
        if shutil.which("topup") is None:
            raise ConfigError("--sdc topup: FSL's topup is not on PATH. Use --sdc reverse-phase.")
        sdc = "topup"
    if preproc.sdc == "none":
        sdc, reason = "none", "--sdc none was asked for"
    reverse = [(file, bvals, encoding) for file, bvals, encoding in others if encoding is not None]
    if not all(one.readout_s for one in (*known, *(encoding for _, _, encoding in reverse))):
        known = [replace(one, readout_s=NOMINAL_READOUT_S) for one in known]
        reverse = [
            (file, bvals, replace(encoding, readout_s=NOMINAL_READOUT_S))
            for file, bvals, encoding in reverse
        ]
    return GeometryPlan(
        encodings=tuple(
            _plain(encoding)
            for encoding, count in zip(known, n_volumes, strict=True)
            for _ in range(count)
        ),
        reverse_images=tuple(
            ReverseImage(str(file), bvals, _plain(encoding)) for file, bvals, encoding in reverse
        ),
        sdc=sdc,
        hmc=preproc.hmc,
        reason=reason,
    )


def _explain_other_fieldmaps(series: DwiSeries) -> str:
    """Say plainly that field maps which are there do not help, and what would."""
    if not series.other_fieldmaps:
        return ""
    names = ", ".join(file.name for file in series.other_fieldmaps)
    text = (
        f"{names}: found in fmap/ and not used, because field maps in Hz and phase differences are "
        "not supported. Needed is a run or an fmap/*_epi image of opposite phase encoding, tied to "
        "the series by B0FieldIdentifier or IntendedFor; or start from the output of QSIPrep, "
        "which uses such field maps, with -d qsiprep=DIR"
    )
    LOGGER.warning("%s: distortion is not corrected. %s.", series.runs[0].dwi_file.name, text)
    return f". {text}"


def _read(fields: PhaseEncodingFields | None) -> PhaseEncoding | None:
    if fields is None:
        return None
    return PhaseEncoding.from_bids(fields.direction, fields.readout_s or 0.0)


def _plain(encoding: PhaseEncoding) -> Encoding:
    return encoding.axis, encoding.sign, encoding.readout_s


def _has_pair(encodings: Sequence[PhaseEncoding]) -> bool:
    return any(
        one.axis == other.axis and one.sign != other.sign
        for one in encodings
        for other in encodings
    )
