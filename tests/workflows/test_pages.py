"""The page of a participant tells what of it this run did not make."""

import pytest
from shd_workflows.pages import write_page
from shd_workflows.usage import StepUse


@pytest.mark.parametrize("earlier", [[], ["ses-a fodf", "tracts"]])
def test_figures_of_earlier_runs_are_named(tmp_path, earlier):
    page = write_page(
        output_dir=tmp_path,
        label="01",
        run_id="1",
        plans=[],
        messages=[],
        steps={"shd_bids_wf.sub_01_wf.a": StepUse(1.0)},
        resources_text="",
        machine={},
        earlier=earlier,
        toml="",
        methods="",
    )
    text = page.read_text()
    assert ("Of earlier runs, and not made again by this one" in text) == bool(earlier)
    assert all(what in text for what in earlier)
