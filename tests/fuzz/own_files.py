"""What an earlier run of ours left, damaged or hostile, and pages that show it."""

import re
from pathlib import Path

from fuzz.common import SIDECAR, TEXT_OF_JSON, Attempt, as_json, settings_of
from fuzz.damage import write_dataset
from fuzz.strategies import (
    fields,
)
from hypothesis import strategies as st
from own_tree import write_own_tree
from shd_workflows.outcome import Outcome
from shd_workflows.plan import plan_series
from shd_workflows.run import build_workflow
from shd_workflows.sources import open_source

from shd_bids.bids.study import read_study
from shd_bids.reports.study.page import write_study_report
from shd_bids.testing.study import write_study

_TAG = re.compile(r"<(script|img|iframe|svg on|object|embed)[^>]*(alert|onerror)", re.I)
OWN = (
    *("Model", "Methods", "Sources", "Settings", "ResponseFunction", "Training", "Description"),
    *("Tissues", "BValues", "SphericalHarmonicDegree", "SoftwareVersion", "RandomSeed", "Units"),
)


def prepare_own(folder: Path) -> Attempt:
    out = write_own_tree(folder / "own")
    write_dataset(folder / "bids", ["01"])
    sidecars = sorted(out.glob("sub-01/*/*.json"))
    good = {file: file.read_bytes() for file in sidecars}
    flags = ("--level", "fod", "--fod-model", "csd", "-d", f"shdbids={out}")
    config = settings_of(folder / "bids", *flags)

    def attempt(case: tuple[int, bytes]) -> None:
        number, content = case
        file = sidecars[number % len(sidecars)]
        file.write_bytes(content)
        try:
            source = open_source(config, ["01"])
            (found,) = source.series_of("01", config, {})
            planned = plan_series(found, config)
            assert planned.own.results is not None
            outcome = Outcome("01", folder / "log", plans=[planned], keeps_log=False)
            build_workflow(config, [outcome])  # tells what sidecars say, in the methods
        finally:
            file.write_bytes(good[file])

    return attempt


def prepare_pages(folder: Path) -> Attempt:
    out = write_study(folder / "study", 3)
    files = sorted([*out.glob("sub-*/dwi/*.json"), *out.glob("sub-*/dwi/*_qc.tsv")])
    good = {file: file.read_bytes() for file in files}

    def attempt(case: tuple[int, bytes, str]) -> None:
        number, content, said = case
        file = files[number % len(files)]
        file.write_bytes(content)
        try:
            page = write_study_report(out, read_study(out), messages=[said], methods=said)
        finally:
            file.write_bytes(good[file])
        assert not _TAG.search(page.read_text(encoding="utf-8"))

    return attempt


HOSTILE = st.one_of(
    fields(*OWN, *SIDECAR).map(as_json),
    TEXT_OF_JSON,
    st.sampled_from(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>']).map(
        lambda text: f"{text}\tb\n{text}\t1\n".encode()
    ),
)
