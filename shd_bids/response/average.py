"""The response of a study: the mean of its participants', how far they spread, and who is apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from shd_bids.dwi.spread import LARGEST_Z, LEAST_SERIES, robust_z
from shd_bids.errors import ResponseError

from .io import SHELL_MATCH_TOLERANCE, Response


@dataclass(frozen=True)
class Outlier:
    """A participant's response that is unlike the others'."""

    index: int  # among the responses that were averaged
    measure: str  # what is unlike, in words
    value: float
    median: float
    score: float  # modified z


@dataclass(frozen=True)
class AverageResponse:
    """The mean response of one tissue.

    Attributes
    ----------
    response
        The mean, scanner units.
    spread
        Standard deviation of the coefficients after each participant's intensity was matched.
    multipliers
        By which each participant's response was multiplied before: below 1 for a scan that is
        brighter than the others.
    outliers
        Participants whose intensity, decay or anisotropy is unlike the others'.
    """

    response: Response
    spread: Float[np.ndarray, "shell degree"]
    multipliers: Float[np.ndarray, " participant"]
    outliers: tuple[Outlier, ...]


def average_responses(responses: Sequence[Response], names: Sequence[str]) -> AverageResponse:
    """Average the responses of one tissue as MRtrix3's ``responsemean`` does.

    Each response is first multiplied by the number that brings the l=0 terms of its shells, on the
    geometric mean, to those of the study: a scanner's gain is none of a tissue's properties.
    A participant that is unlike the others is named and stays in.

    Parameters
    ----------
    responses
        Of one tissue and the same shells; rows may differ in their degree.
    names
        Of the participants, for messages.

    Returns
    -------
    AverageResponse
        With the b-values of the first.

    Raises
    ------
    ResponseError
        If there is none, shells differ, or an l=0 term is not positive.
    """
    if not responses:
        raise ResponseError("There is no response to average.")
    first = responses[0]
    for response, name in zip(responses, names, strict=True):
        _check_shells(response, name, first, names[0])
        check_level(response, name)
    lmax = max(response.lmax for response in responses)
    stack = np.stack([response.to_lmax(lmax) for response in responses])
    level = stack[:, :, 0]  # (participant, shell)
    multipliers = np.exp(np.log(level.mean(axis=0) / level).mean(axis=1))
    matched = stack * multipliers[:, None, None]
    n_free = len(responses) - 1
    spread = matched.std(axis=0, ddof=1) if n_free else np.zeros(matched.shape[1:])
    mean = Response(first.tissue, first.bvals, matched.mean(axis=0))
    return AverageResponse(mean, spread, multipliers, tuple(_find_outliers(stack, first)))


def relative_intensity(own: Mapping[str, Response], study: Mapping[str, Response]) -> float:
    """Give how bright a scan is beside its study: one factor for all of its tissues.

    The geometric mean, over tissues and shells, of what the l=0 terms are beside the study's. One
    tissue alone would take a change of its own for one of the scanner's gain.

    Parameters
    ----------
    own, study
        Responses by tissue, of the same shells; tissues that only one of them has do not count.

    Examples
    --------
    >>> study = {"CSF": Response("CSF", np.array([0.0, 1000.0]), np.array([[100.0], [10.0]]))}
    >>> own = {"CSF": Response("CSF", np.array([0.0, 1000.0]), np.array([[200.0], [20.0]]))}
    >>> round(relative_intensity(own, study), 6)
    2.0
    """
    logs = [
        np.log(own[tissue].coefficients[:, 0] / study[tissue].coefficients[:, 0]).mean()
        for tissue in study
        if tissue in own
    ]
    return float(np.exp(np.mean(logs)))


def match_intensity(
    study: Mapping[str, Response], own: Mapping[str, Response]
) -> dict[str, Response]:
    """Bring a study's responses to the intensity of one scan; their shapes and ratios stay.

    Parameters
    ----------
    study
        Average responses by tissue.
    own
        The scan's own.
    """
    factor = relative_intensity(own, study)
    return {
        tissue: replace(one, coefficients=factor * one.coefficients)
        for tissue, one in study.items()
    }


def _find_outliers(
    stack: Float[np.ndarray, "participant shell degree"], first: Response
) -> list[Outlier]:
    if len(stack) < LEAST_SERIES:
        return []
    measures = {"signal at b=0": stack[:, 0, 0] / np.sqrt(4 * np.pi)}
    for shell, bval in enumerate(first.bvals[1:], start=1):
        decay = stack[:, shell, 0] / stack[:, 0, 0]
        measures[f"signal at b={bval:.0f} over b=0"] = decay
        if stack.shape[2] > 1:
            measures[f"anisotropy (l=2 over l=0) at b={bval:.0f}"] = -(
                stack[:, shell, 1] / stack[:, shell, 0]
            )
    outliers = []
    for what, values in measures.items():
        median, _, scores = robust_z(values)
        outliers += [
            Outlier(int(place), what, float(values[place]), median, float(scores[place]))
            for place in np.flatnonzero(np.abs(scores) > LARGEST_Z)
        ]
    return outliers


def check_level(response: Response, name: str) -> None:
    """Refuse a response that no multiplier can bring to another's intensity.

    Parameters
    ----------
    response
        Of any tissue.
    name
        Of its participant or file, for the message.

    Raises
    ------
    ResponseError
        If an l=0 term is not positive.
    """
    if (response.coefficients[:, 0] <= 0).any():
        raise ResponseError(
            f"The {response.tissue} response of {name} has an l=0 term that is not positive. "
            "Leave this participant out with --participant-label, or estimate its response again."
        )


def _check_shells(response: Response, name: str, first: Response, first_name: str) -> None:
    shells, expected = (", ".join(f"{bval:.0f}" for bval in one.bvals) for one in (response, first))
    same = len(response.bvals) == len(first.bvals) and np.all(
        np.abs(response.bvals - first.bvals) <= SHELL_MATCH_TOLERANCE
    )
    if not same or response.tissue != first.tissue:
        raise ResponseError(
            f"The {response.tissue} response of {name} has the shells b = {shells}, that of "
            f"{first_name} ({first.tissue}) b = {expected}. Only responses of one tissue and the "
            "same shells have a mean."
        )
