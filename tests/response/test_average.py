"""The mean response of a study: equal to MRtrix3's, and honest about who is unlike."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from shd_bids.errors import ResponseError
from shd_bids.response.average import average_responses, match_intensity
from shd_bids.response.io import Response, is_average, write_response

BVALS = np.array([0.0, 1000.0, 2500.0])
SHAPE = np.array([[1000.0, 0.0, 0.0], [500.0, -200.0, 40.0], [250.0, -150.0, 60.0]])


def _response(factor: float = 1.0, **changes) -> Response:
    return Response("WM", changes.get("bvals", BVALS), factor * changes.get("shape", SHAPE))


def _varied(n: int) -> list[Response]:
    generator = np.random.default_rng(1)
    return [
        _response(gain, shape=SHAPE * (1 + 0.02 * generator.standard_normal(SHAPE.shape)))
        for gain in np.exp(0.3 * generator.standard_normal(n))
    ]


def _names(responses: list[Response]) -> list[str]:
    return [f"sub-{number}" for number, _ in enumerate(responses)]


def _average(responses: list[Response]):
    return average_responses(responses, _names(responses))


@pytest.mark.needs_tool("responsemean")
def test_the_mean_is_that_of_mrtrix3(tmp_path: Path) -> None:
    responses = _varied(4)
    files = [tmp_path / f"{number}.txt" for number, _ in enumerate(responses)]
    for response, file in zip(responses, files, strict=True):
        write_response(response, file)
    out = tmp_path / "mean.txt"
    subprocess.run(["responsemean", "-quiet", *files, out], check=True, capture_output=True)
    ours = _average(responses).response.coefficients
    np.testing.assert_allclose(ours, np.loadtxt(out), rtol=1e-6)


def test_gain_is_no_spread() -> None:
    average = _average([_response(gain) for gain in (0.5, 1.0, 2.0)])
    np.testing.assert_allclose(average.spread, 0.0, atol=1e-9)
    np.testing.assert_allclose(average.multipliers, np.array([2, 1, 0.5]) * 3.5 / 3)
    np.testing.assert_allclose(average.response.coefficients, SHAPE * 3.5 / 3)


def test_the_mean_of_one_is_that_one() -> None:
    average = _average([_response()])
    np.testing.assert_allclose(average.response.coefficients, SHAPE)
    assert not average.spread.any()


def test_a_participant_that_is_unlike_is_named_with_what_is_unlike() -> None:
    flat = SHAPE.copy()
    flat[1, 1] *= 0.3
    average = _average([*_varied(9), _response(shape=flat)])
    what = "anisotropy (l=2 over l=0) at b=1000"
    (outlier,) = [one for one in average.outliers if one.measure == what]
    assert outlier.index == 9
    assert outlier.value == pytest.approx(0.12)
    assert outlier.median == pytest.approx(0.4, rel=0.1)


def test_nobody_is_unlike_among_a_few_or_among_copies() -> None:
    flat = SHAPE * [1, 0.3, 1]
    assert not _average([_response(), _response(), _response(shape=flat)]).outliers
    assert not _average([_response(1.001**n) for n in range(6)]).outliers


def test_degrees_may_differ_and_missing_ones_are_zero() -> None:
    average = _average([_response(), _response(shape=SHAPE[:, :2])])
    np.testing.assert_allclose(average.response.coefficients[1], [500, -200, 20])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (_response(bvals=np.array([0.0, 1000.0, 3000.0])), r"sub-1 has .* 3000, that of sub-0"),
        (Response("GM", BVALS, SHAPE[:, :1]), r"GM response of sub-1 .* that of sub-0 \(WM\)"),
        (_response(shape=SHAPE * [[1], [1], [0]]), "sub-1 has an l=0 term that is not positive"),
    ],
)
def test_what_has_no_mean_is_refused_with_its_name(other: Response, message: str) -> None:
    with pytest.raises(ResponseError, match=message):
        _average([_response(), other])


def test_matched_responses_have_the_brightness_of_the_scan_and_the_shape_of_the_study() -> None:
    grey = Response("GM", BVALS, np.array([[1200.0], [700.0], [300.0]]))
    study = {"WM": _response(), "GM": grey}
    own = {
        "WM": _response(3.0, shape=SHAPE * [1.0, 0.5, 1.0]),
        "GM": Response("GM", BVALS, 3.0 * grey.coefficients),
    }
    matched = match_intensity(study, own)
    np.testing.assert_allclose(matched["WM"].coefficients, 3.0 * SHAPE)
    np.testing.assert_allclose(matched["GM"].coefficients, 3.0 * grey.coefficients)


def test_the_group_level_s_responses_are_told_by_their_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "WM.txt"
    assert not is_average(file)
    for text, expected in (("{", False), ("[]", False), ('{"NumberOfSeries": 3}', True)):
        file.with_suffix(".json").write_text(text)
        assert is_average(file) == expected
