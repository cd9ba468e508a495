"""PyBIDS finds every output by its entities."""

from pathlib import Path

import pytest
from bids.layout import BIDSLayout
from shd_workflows.derivatives import MAPS

from shd_bids.bids.description import dataset_description, write_dataset_files
from shd_bids.bids.names import SHORT_NAMES, BidsName, derivative_path
from shd_bids.bids.pybids_config import pybids_config_file

MANIFEST = Path(__file__).parents[1] / "workflows/manifests/rich.txt"
LONG_NAMES = {short: name for name, short in SHORT_NAMES.items()} | {"seg": "segmentation"}


def _paths() -> list[str]:
    lines = MANIFEST.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("# ")]


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> BIDSLayout:
    """Index the names of a participant that has everything; the files are empty."""
    out = tmp_path_factory.mktemp("out")
    links = {"raw": Path("/data")}
    described = dataset_description(version="0.1.0", links=links, input_description={})
    write_dataset_files(out, described)
    chunked = derivative_path(
        {"sub": "01", "ses": "b", "chunk": "2"}, suffix="dwi", extension=".nii.gz", desc="preproc"
    )
    for path in [*_paths(), chunked]:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).touch()
    config = [pybids_config_file(), "bids", "derivatives"]
    return BIDSLayout(out, validate=False, is_derivative=True, config=config)


STEM = "sub-01_ses-b_acq-hi_space-orig"
TRACKED = f"{STEM}_model-csd_track-probabilistic"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (
            {"param": "fod", "label": "WM", "space": "orig"},
            [f"{STEM}_model-csd_param-fod_label-WM_dwimap.nii.gz"],
        ),
        ({"param": "peaks"}, [f"{STEM}_model-csd_param-peaks_dwimap.nii.gz"]),
        (
            {"param": "response", "label": ["WM", "CSF"]},
            [f"{STEM}_param-response_label-{t}_dwimap.txt" for t in ("CSF", "WM")],
        ),
        (
            {"suffix": "tractogram", "track": "probabilistic", "extension": ".trx"},
            [f"{TRACKED}_tractogram.trx"],
        ),
        ({"suffix": "tractogram", "bundle": "AFleft"}, [f"{TRACKED}_bundle-AFleft_tractogram.tck"]),
        (
            {"suffix": "tractogram", "desc": "weights"},
            [f"{TRACKED}_desc-weights_tractogram.tsv"],
        ),
        (
            {"suffix": "connectivity", "segmentation": "Halves", "desc": "count"},
            [f"{TRACKED}_seg-Halves_desc-count_connectivity.tsv"],
        ),
        (
            {"suffix": "xfm", "from": "T1w", "to": "orig"},
            ["sub-01_ses-b_acq-hi_from-T1w_to-orig_mode-image_xfm.txt"],
        ),
        (
            {"param": "afd", "space": "MNI", "res": "2"},
            ["sub-01_ses-b_acq-hi_space-MNI_model-csd_param-afd_res-2_dwimap.nii.gz"],
        ),
    ],
)
def test_what_is_asked_for_by_entities_is_found(layout, query, names):
    found = layout.get(subject="01", session="b", acquisition="hi", **query)
    assert sorted(file.filename for file in found) == names


def test_every_map_can_be_asked_for(layout):
    found = {file.entities.get("param") for file in layout.get(suffix="dwimap", session="a")}
    maps = {"fod", "fraction", "response", "tdi", "ends", "meanlength", *MAPS}
    assert found == maps


def test_every_name_is_built_again_from_its_entities(layout):
    for path in map(Path, _paths()):
        name = BidsName.parse(path)
        entities = {LONG_NAMES.get(key, key): label for key, label in name.entities.items()}
        entities |= {"suffix": name.suffix, "extension": name.extension}
        entities["datatype"] = path.parent.name
        assert layout.build_path(entities, validate=False, absolute_paths=False) == str(path)


def test_parts_of_a_field_of_view_are_told_apart(layout):
    (file,) = layout.get(chunk="2", suffix="dwi")
    assert file.filename == "sub-01_ses-b_chunk-2_desc-preproc_dwi.nii.gz"
