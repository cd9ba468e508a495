"""Phase encoding comes from the sidecar, else from the name and the image's orientation."""

import logging

import numpy as np
import pytest

from shd_bids.bids.phase_encoding import read_phase_encoding

SHAPE = (96, 101, 60)
RAS, LAS, LPS = (np.diag([*signs, 1.0]) for signs in ((2, 2, 2), (-2, 2, 2), (-2, -2, 2)))
PSR = np.array([[0, 0, 2.0, 0], [-2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])


def read(metadata, label=None, affine=LAS):
    return read_phase_encoding(metadata, SHAPE, label, affine, name="dwi.nii.gz")


@pytest.mark.parametrize("direction", ["i", "i-", "j", "j-", "k", "k-"])
def test_the_direction_that_the_sidecar_states_is_taken_as_it_is(direction, caplog):
    assert read({"PhaseEncodingDirection": direction}, "AP").direction == direction
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("label", "affine", "direction"),
    [
        ("AP", RAS, "j-"),
        ("PA", RAS, "j"),
        ("AP", LPS, "j"),
        ("ap", LAS, "j-"),
        ("LR", RAS, "i"),
        ("LR", LAS, "i-"),
        ("RL", LAS, "i"),
        ("SI", LPS, "k-"),
        ("AP", PSR, "i"),
        ("RL", PSR, "k-"),
    ],
)
def test_a_label_is_turned_into_an_axis_of_the_image_with_a_warning(
    label, affine, direction, caplog
):
    assert read({}, label, affine).direction == direction
    assert "dwi.nii.gz states no PhaseEncodingDirection" in caplog.text


def test_a_label_still_fits_an_image_turned_by_30_degrees():
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turned = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    assert read({}, "PA", turned @ RAS).direction == "j"


@pytest.mark.parametrize(
    ("axis", "label", "direction"),
    [("j", "AP", "j-"), ("j", "PA", "j"), ("j", None, "j"), ("j", "LR", "j"), ("j-", "PA", "j-")],
)
def test_the_old_axis_takes_its_sense_from_a_label_along_it(axis, label, direction, caplog):
    assert read({"PhaseEncodingAxis": axis}, label).direction == direction
    assert f"taken from PhaseEncodingAxis {axis}" in caplog.text


@pytest.mark.parametrize("label", [None, "98", "x"])
def test_without_sidecar_and_label_nothing_is_known(label):
    assert read({}, label) is None


def test_a_direction_in_other_words_is_passed_over(caplog):
    assert read({"PhaseEncodingDirection": "AP"}) is None
    assert "PhaseEncodingDirection is 'AP', expected i, j or k" in caplog.text


@pytest.mark.parametrize(
    ("fields", "readout_s"),
    [
        ({"TotalReadoutTime": 0.07, "EffectiveEchoSpacing": 0.0005}, 0.07),
        ({"EffectiveEchoSpacing": 0.0005}, 0.05),
        ({"EffectiveEchoSpacing": 0.0005, "ReconMatrixPE": 121}, 0.06),
        ({"TotalReadoutTime": 0, "EffectiveEchoSpacing": 0.0005}, 0.05),
        ({"TotalReadoutTime": "fast"}, None),
        ({}, None),
    ],
)
def test_the_readout_is_stated_or_follows_from_the_echo_spacing(fields, readout_s, caplog):
    with caplog.at_level(logging.WARNING):
        found = read({"PhaseEncodingDirection": "j", **fields}).readout_s
    assert found == pytest.approx(readout_s)
    assert ("it is passed over" in caplog.text) == (fields.get("TotalReadoutTime") in (0, "fast"))
