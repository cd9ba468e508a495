"""JSON files of any content: sidecars, descriptions, filters, those of other pipelines."""

import json
from pathlib import Path

from fuzz.common import N_VOLUME, TEXT_OF_JSON, Attempt, as_json, open_participant, settings_of
from fuzz.damage import SHAPE, write_dataset
from fuzz.gradient_files import read_text
from fuzz.strategies import (
    fields,
    numbers,
    texts,
)
from hypothesis import strategies as st
from shd_workflows.plan import plan_series
from shd_workflows.sources import Source, open_source

from shd_bids.bids.dataset import read_dataset_description, read_filter_file
from shd_bids.bids.description import dataset_description
from shd_bids.bids.files import write_json
from shd_bids.bids.generators import is_preprocessed
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom


def prepare_sidecars(folder: Path) -> Attempt:
    one, _ = open_participant(folder)
    one.add_reverse()
    config = settings_of(folder / "bids")
    source = open_source(config, ["01"])

    def attempt(case: tuple[bytes, bytes]) -> None:
        one.path(".json").write_bytes(case[0])
        one.path(".json", kind="epi", entities="_dir-PA").write_bytes(case[1])
        (found,) = source.series_of("01", config, {})
        write_json(folder / "metadata.json", found.shared_metadata)
        planned = plan_series(found, config)
        told = json.loads(case[0].decode("utf-8-sig"))
        direction = told.get("PhaseEncodingDirection")
        if direction in [f"{axis}{sign}" for axis in "ijk" for sign in ("", "-")]:
            axis, sign, readout = planned.geometry.encodings[0]
            assert axis == "ijk".index(direction[0])
            assert sign == (-1 if direction.endswith("-") else 1)
            total = told.get("TotalReadoutTime")
            if planned.geometry.sdc != "none" and isinstance(total, float) and 0 < total < 5:
                assert readout > 0
        assert len(planned.geometry.encodings) == N_VOLUME
        assert planned.shape == (*SHAPE, N_VOLUME)

    return attempt


def prepare_descriptions(folder: Path) -> Attempt:
    (folder / "bids").mkdir(parents=True)
    file = folder / "bids" / "dataset_description.json"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        found = read_dataset_description(file.parent)
        is_preprocessed(file.parent)
        ours = dataset_description(
            version="1",
            links={"raw": folder, "x": folder},
            input_description=found,
            other_descriptions={"x": found},
        )
        write_json(folder / "out.json", ours)
        assert set(found) <= set(json.loads(content.decode("utf-8-sig"))) | {
            key.encode("utf-8", "replace").decode() for key in json.loads(content)
        }

    return attempt


_ENTITIES = (
    *("session", "acquisition", "run", "direction", "suffix", "extension", "datatype", "subject"),
    *("return_type", "scope", "target", "part", "RepetitionTime", "regex_search", "fmap", "space"),
)


def prepare_filters(folder: Path) -> Attempt:
    write_dataset(folder / "bids", ["01", "02"])
    config = settings_of(folder / "bids")
    source = open_source(config, ["01", "02"])
    derivatives = folder / "qsiprep"
    phantom = make_phantom((8, 8, 6), 4.0, shells={0: 2, 1000: 12})
    write_qsiprep_tree(phantom, derivatives)
    other = Source(derivatives, None)
    file = folder / "filter.json"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        filters = read_filter_file(file)
        for place in (source, other):
            for found in place.series_of("01", config, filters):
                assert found.entities["sub"] == "01"
                assert all(one.name.startswith("sub-01_") for one in found.source_files)

    return attempt


filters = st.one_of(
    st.dictionaries(st.sampled_from(["dwi", "t1w", "fmap", "bold"]), fields(*_ENTITIES)).map(
        as_json
    ),
    st.dictionaries(
        st.just("dwi"),
        st.dictionaries(
            st.sampled_from(_ENTITIES),
            st.one_of(
                st.sampled_from(["*", None, "Query.NONE", "01", 1, ["01", None]]), numbers, texts
            ),
            max_size=2,
        ),
    ).map(as_json),
    TEXT_OF_JSON,
)


def prepare_qsiprep(folder: Path) -> Attempt:
    phantom = make_phantom((8, 8, 6), 4.0, shells={0: 2, 1000: 12})
    write_qsiprep_tree(phantom, folder / "qsiprep")
    config = settings_of(folder / "qsiprep", "--level", "response")
    sidecar = next((folder / "qsiprep").rglob("*desc-preproc_dwi.json"), None)
    if sidecar is None:
        image = next((folder / "qsiprep").rglob("*desc-preproc_dwi.nii.gz"))
        sidecar = image.with_name(image.name.replace(".nii.gz", ".json"))
    table = next((folder / "qsiprep").rglob("*desc-preproc_dwi.b"))
    good = table.read_bytes()

    def attempt(case: tuple[bytes, bytes | None]) -> None:
        sidecar.write_bytes(case[0])
        table.write_bytes(good if case[1] is None else case[1])
        source = open_source(config, ["01"])
        (found,) = source.series_of("01", config, {})
        write_json(folder / "metadata.json", found.shared_metadata)
        planned = plan_series(found, config)
        assert planned.shape[3] == len(read_text(table.read_bytes()))

    return attempt
