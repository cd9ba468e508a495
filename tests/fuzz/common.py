"""What the ways in have in common: a participant that is planned as a run does it, and JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz.damage import N_DIRECTION, write_dataset
from fuzz.strategies import (
    fields,
    json_values,
    mutated_bytes,
)
from hypothesis import strategies as st
from shd_workflows.plan import SeriesPlan, plan_series
from shd_workflows.sources import open_source

from shd_bids.bids.files import write_json
from shd_bids.cli.parser import parse_arguments
from shd_bids.config import RunConfig

Attempt = Callable[[Any], None]
N_VOLUME = 1 + N_DIRECTION


def settings_of(bids_dir: Path, *flags: str) -> RunConfig:
    return parse_arguments([str(bids_dir), str(bids_dir.with_name("out")), "participant", *flags])


def open_participant(folder: Path) -> tuple[Any, Callable[[], SeriesPlan]]:
    """Write a participant, and give what plans it anew as a run does."""
    (one,) = write_dataset(folder / "bids", ["01"])
    config = settings_of(folder / "bids")
    source = open_source(config, ["01"])

    def plan() -> SeriesPlan:
        (found,) = source.series_of("01", config, {})
        write_json(folder / "metadata.json", found.shared_metadata)
        return plan_series(found, config)

    return one, plan


SIDECAR = (
    *("PhaseEncodingDirection", "PhaseEncodingAxis", "TotalReadoutTime", "EffectiveEchoSpacing"),
    *(
        "ReconMatrixPE",
        "PartialFourier",
        "SliceEncodingDirection",
        "RepetitionTime",
        "B0FieldSource",
    ),
    *("SliceTiming", "IntendedFor", "B0FieldIdentifier", "subject", "suffix", "extension"),
)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


TEXT_OF_JSON = st.one_of(
    json_values.map(as_json),
    fields(*SIDECAR).map(as_json),
    st.binary(max_size=40),
    mutated_bytes(b'{"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "EchoTime": 1e-1}'),
    st.integers(1, 3000).map(lambda n: b'{"a":' * n + b"1" + b"}" * n),
)
