"""The ways in for files that anybody may have written, and independent readings of these files."""

import gzip
import json
import logging
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from fuzz.damage import AFFINE, N_DIRECTION, SHAPE, series, write_dataset
from fuzz.engine import Property
from fuzz.strategies import (
    ODD_NUMBERS,
    fields,
    json_values,
    mutated_bytes,
    mutated_tables,
    numbers,
    texts,
)
from hypothesis import strategies as st
from own_tree import write_own_tree
from shd_workflows.outcome import Outcome
from shd_workflows.plan import SeriesPlan, plan_series
from shd_workflows.run import build_workflow
from shd_workflows.sources import Source, open_source

from shd_bids.anat.regions import read_regions
from shd_bids.bids.dataset import read_dataset_description, read_filter_file
from shd_bids.bids.description import dataset_description
from shd_bids.bids.files import write_json
from shd_bids.bids.generators import is_preprocessed
from shd_bids.bids.study import read_study
from shd_bids.cli.parser import parse_arguments
from shd_bids.cli.weights import read_preset
from shd_bids.config import RunConfig, write_config_file
from shd_bids.dwi.gradients import GradientTable, read_fsl_gradients, read_mrtrix_gradients
from shd_bids.dwi.images import load_dwi
from shd_bids.reports.study.page import write_study_report
from shd_bids.response.io import read_response, read_shells
from shd_bids.testing.qsiprep_tree import write_qsiprep_tree
from shd_bids.testing.scan import make_phantom
from shd_bids.testing.study import write_study

Attempt = Callable[[Any], None]
_N_VOLUME = 1 + N_DIRECTION


def _config(bids_dir: Path, *flags: str) -> RunConfig:
    return parse_arguments([str(bids_dir), str(bids_dir.with_name("out")), "participant", *flags])


def _open(folder: Path) -> tuple[Any, Callable[[], SeriesPlan]]:
    """Write a participant, and give what plans it anew as a run does."""
    (one,) = write_dataset(folder / "bids", ["01"])
    config = _config(folder / "bids")
    source = open_source(config, ["01"])

    def plan() -> SeriesPlan:
        (found,) = source.series_of("01", config, {})
        write_json(folder / "metadata.json", found.shared_metadata)
        return plan_series(found, config)

    return one, plan


# images

_HEADER = nib.Nifti1Header.template_dtype
_CODES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_CODES |= {1024: "i8", 1280: "u8"}


def _good_nifti() -> bytes:
    return nib.Nifti1Image(series(), AFFINE).to_bytes()


@st.composite
def _images(draw: Any) -> tuple[bytes, bool]:
    """Change fields of the header, or bytes anywhere, and pack it or not."""
    content = _good_nifti()
    if draw(st.booleans()):
        header = np.frombuffer(content[:348], _HEADER, 1).copy()
        for name in draw(st.lists(st.sampled_from(_HEADER.names), min_size=1, max_size=3)):
            field = header[name][0]
            if field.dtype.kind == "S":
                header[name][0] = draw(st.binary(max_size=field.dtype.itemsize))
                continue
            size = field.dtype.itemsize
            many = np.array(field, copy=True).reshape(-1)
            for at in draw(st.lists(st.integers(0, many.size - 1), min_size=1, max_size=2)):
                many[at] = np.frombuffer(draw(_raw_values(field.dtype, size)), field.dtype)[0]
            header[name][0] = many.reshape(field.shape) if field.shape else many[0]
        content = header.tobytes() + content[348:]
        if draw(st.integers(0, 9)) == 0:
            content = content[: draw(st.integers(0, len(content)))]
    else:
        head = draw(mutated_bytes(content[:400]))
        content = head + content[400:]
    packed = draw(st.booleans())
    if packed:
        content = gzip.compress(content, 1, mtime=0)
        if draw(st.integers(0, 3)) == 0:
            content = draw(mutated_bytes(content))
    return content, packed


def _raw_values(dtype: np.dtype, size: int) -> st.SearchStrategy[bytes]:
    odd = [0, 1, -1, 2, 3, 7, 8, 13, 32767, -32768, 348, 352, 540]
    if dtype.kind == "f":
        odd += [math.nan, math.inf, -math.inf, 1e30, 1e-30, 0.5, 1e9, -352]
        return st.one_of(
            st.sampled_from([np.array(one, dtype).tobytes() for one in odd]),
            st.binary(min_size=size, max_size=size),
        )
    return st.one_of(
        st.sampled_from([np.array(one).astype(dtype).tobytes() for one in odd]),
        st.binary(min_size=size, max_size=size),
    )


def _unpacked(content: bytes, packed: bool) -> bytes:
    return gzip.decompress(content) if packed else content


def _read_nifti(content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a NIfTI-1 file by the standard's table of fields alone."""
    order = "<" if 1 <= struct.unpack_from("<h", content, 40)[0] <= 7 else ">"
    dim = struct.unpack_from(f"{order}8h", content, 40)
    shape = dim[1 : 1 + dim[0]]
    (datatype,) = struct.unpack_from(f"{order}h", content, 70)
    offset, slope, inter = struct.unpack_from(f"{order}3f", content, 108)
    dtype = np.dtype(order + _CODES[datatype])
    stored = np.frombuffer(content, dtype, math.prod(shape), int(offset))
    data = stored.reshape(shape, order="F").astype(np.float64)
    if slope not in (0.0,) and np.isfinite(slope):
        data = data * slope + inter
    qform_code, sform_code = struct.unpack_from(f"{order}2h", content, 252)
    if sform_code > 0:
        rows = np.array(struct.unpack_from(f"{order}12f", content, 280)).reshape(3, 4)
        return data, np.vstack([rows, [0, 0, 0, 1]])
    if qform_code <= 0:
        return data, None
    pixdim = struct.unpack_from(f"{order}8f", content, 76)
    b, c, d, x, y, z = struct.unpack_from(f"{order}6f", content, 256)
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
            [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
            [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
        ]
    )
    edges = np.abs(pixdim[1:4]) * [1, 1, -1 if pixdim[0] == -1 else 1]
    affine = np.eye(4)
    affine[:3, :3] = turn * edges
    affine[:3, 3] = x, y, z
    return data, affine


def _prepare_images(folder: Path) -> Attempt:
    one, _ = _open(folder)
    plain, packed_file = one.path(".nii"), one.dwi
    plain.write_bytes(_good_nifti())
    packed_file.unlink()
    config = _config(folder / "bids")
    sources = {False: open_source(config, ["01"])}
    plain.unlink()
    packed_file.write_bytes(gzip.compress(_good_nifti()))
    sources[True] = open_source(config, ["01"])

    def attempt(case: tuple[bytes, bool]) -> None:
        content, packed = case
        file = packed_file if packed else plain
        file.write_bytes(content)
        try:
            (found,) = sources[packed].series_of("01", config, {})
            planned = plan_series(found, config)
            image = load_dwi(file)
        finally:
            file.unlink()
        data, affine = _read_nifti(_unpacked(content, packed))
        assert planned.shape == data.shape
        got = np.asarray(image.dataobj)
        scale = np.abs(data).max()
        np.testing.assert_allclose(got, np.maximum(data, 0), rtol=1e-5, atol=1e-5 * scale)
        if affine is not None:
            np.testing.assert_allclose(image.affine, affine, rtol=1e-3, atol=1e-3)

    return attempt


# gradients


def _good_bvecs() -> np.ndarray:
    generator = np.random.default_rng(0)
    bvecs = generator.normal(size=(N_DIRECTION, 3))
    return np.vstack([np.zeros(3), bvecs / np.linalg.norm(bvecs, axis=1, keepdims=True)])


_BVALS = ["0"] + ["1000"] * N_DIRECTION
_BVECS = [[f"{number:.6f}" for number in row] for row in _good_bvecs().T]
_TABLE = [[*row, b] for row, b in zip(zip(*_BVECS, strict=True), _BVALS, strict=True)]

_gradients = st.tuples(
    st.one_of(mutated_tables([_BVALS]), st.just(" ".join(_BVALS).encode()), st.binary()),
    st.one_of(
        mutated_tables(_BVECS),
        st.just("\n".join(map(" ".join, _BVECS)).encode()),
        st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
    ),
)


def _read_text(content: bytes) -> list[list[float]]:
    """Read rows of numbers in the plainest way."""
    text = content.decode("utf-8-sig")
    rows = [re.sub("#.*", "", line).replace(",", " ").split() for line in text.splitlines()]
    return [[float(word) for word in row] for row in rows if row]


def _check_table(table: GradientTable, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    assert table.n_volume == len(bvals)
    length = np.linalg.norm(np.nan_to_num(bvecs), axis=1)
    unit = np.linalg.norm(table.bvecs_ras, axis=1)
    assert np.all((np.abs(unit - 1) < 1e-6) | (unit == 0))
    assert np.isfinite(table.bvals).all()
    assert np.all((unit == 0) == (length == 0))
    scaled = bvals * np.where(length > 0, length, 1) ** 2
    rtol = 1e-6
    assert np.allclose(table.bvals, bvals, rtol) or np.allclose(table.bvals, scaled, rtol)
    cosine = np.abs((table.bvecs_ras * np.nan_to_num(bvecs)).sum(axis=1))  # AFFINE mirrors nothing
    mirrored = np.nan_to_num(bvecs) * [np.sign(AFFINE[0, 0]), 1, 1]
    cosine = np.abs((table.bvecs_ras * mirrored).sum(axis=1))
    np.testing.assert_allclose(cosine, length, atol=1e-6)


def _prepare_gradients(folder: Path) -> Attempt:
    one, plan = _open(folder)

    def attempt(case: tuple[bytes, bytes]) -> None:
        for extension, content in zip((".bval", ".bvec"), case, strict=True):
            one.path(extension).write_bytes(content)
        planned = plan()
        bvals = np.ravel(_read_text(case[0]))
        vectors = np.array(_read_text(case[1]))
        bvecs = vectors.T if vectors.shape[0] == 3 else vectors
        table = read_fsl_gradients(one.path(".bval"), one.path(".bvec"), AFFINE)
        _check_table(table, bvals, bvecs)
        assert sum(planned.shell_counts) == _N_VOLUME == planned.shape[3]
        assert planned.shell_counts[0] == (table.bvals <= 100).sum()

    return attempt


def _prepare_mrtrix(folder: Path) -> Attempt:
    file = folder / "dwi.b"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        table = read_mrtrix_gradients(file)
        rows = np.array(_read_text(content))
        assert rows.shape == (table.n_volume, 4)
        np.testing.assert_allclose(table.bvals, rows[:, 3])
        unit = np.linalg.norm(table.bvecs_ras, axis=1)
        assert np.all((np.abs(unit - 1) < 1e-6) | (unit == 0))

    return attempt


# JSON

_SIDECAR = (
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


def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


_TEXT_OF_JSON = st.one_of(
    json_values.map(_as_json),
    fields(*_SIDECAR).map(_as_json),
    st.binary(max_size=40),
    mutated_bytes(b'{"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05, "EchoTime": 1e-1}'),
    st.integers(1, 3000).map(lambda n: b'{"a":' * n + b"1" + b"}" * n),
)


def _prepare_sidecars(folder: Path) -> Attempt:
    one, _ = _open(folder)
    one.add_reverse()
    config = _config(folder / "bids")
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
        assert len(planned.geometry.encodings) == _N_VOLUME
        assert planned.shape == (*SHAPE, _N_VOLUME)

    return attempt


def _prepare_descriptions(folder: Path) -> Attempt:
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


def _prepare_filters(folder: Path) -> Attempt:
    write_dataset(folder / "bids", ["01", "02"])
    config = _config(folder / "bids")
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


_filters = st.one_of(
    st.dictionaries(st.sampled_from(["dwi", "t1w", "fmap", "bold"]), fields(*_ENTITIES)).map(
        _as_json
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
    ).map(_as_json),
    _TEXT_OF_JSON,
)


def _prepare_qsiprep(folder: Path) -> Attempt:
    phantom = make_phantom((8, 8, 6), 4.0, shells={0: 2, 1000: 12})
    write_qsiprep_tree(phantom, folder / "qsiprep")
    config = _config(folder / "qsiprep", "--level", "response")
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
        assert planned.shape[3] == len(_read_text(table.read_bytes()))

    return attempt


# settings, responses, weights, atlases


def _config_text(folder: Path) -> bytes:
    (folder / "bids").mkdir(parents=True, exist_ok=True)
    write_config_file(_config(folder / "bids"), folder / "good.toml")
    return (folder / "good.toml").read_bytes()


@st.composite
def _configs(draw: Any) -> bytes:
    lines = draw(st.just(None)) or _GOOD_CONFIG.decode().splitlines()
    lines = list(lines)
    values = st.one_of(
        st.sampled_from(
            [
                *(
                    "true",
                    "-1",
                    "1e400",
                    "nan",
                    "inf",
                    "''",
                    "[]",
                    "{}",
                    "[[1]]",
                    "1979-05-27",
                    "0x10",
                ),
                *(
                    '"~nobody-at-all/x"',
                    '"\\u0000"',
                    "9" * 400,
                    "[" * 2000,
                    '"a"',
                    "0",
                    "1.5",
                    '["01"]',
                ),
            ]
        ),
        json_values.map(json.dumps),
    )
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition("=")[0]
        lines[at] = draw(st.one_of(values.map(f"{key}= {{}}".format), texts, st.just("")))
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return draw(st.one_of(st.just(text), mutated_bytes(text)))


_GOOD_CONFIG = b""


def _prepare_configs(folder: Path) -> Attempt:
    global _GOOD_CONFIG  # the strategy needs it, and it needs a folder
    _GOOD_CONFIG = _config_text(folder)
    file = folder / "shd-bids.toml"

    def attempt(content: bytes) -> None:
        import tomllib

        file.write_bytes(content)
        config = _config(folder / "bids", "--config-file", str(file))
        table, asked = config.to_table(), tomllib.loads(content.decode("utf-8-sig"))
        for section, values in asked.items():
            for key, value in values.items():
                got = table[section].get(key)
                if isinstance(value, bool | int | float) and key not in ("verbosity",):
                    assert got == value, (section, key, value, got)
        write_config_file(config, folder / "again.toml")

    return attempt


_RESPONSE = [["2000.1", "0", "0"], ["900.5", "-300.2", "50.1"]]


def _prepare_responses(folder: Path) -> Attempt:
    file, shells = folder / "response.txt", np.array([0.0, 1000.0])

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        response = read_response(file, "WM", shells)
        assert response.coefficients.shape[0] == 2
        assert np.isfinite(response.coefficients).all()
        rows = _read_text(content)
        given = [[row[0] for row in rows]] if len(rows) == 2 else None
        if given:
            np.testing.assert_allclose(response.coefficients[:, 0], given[0])
        if content.lstrip().startswith(b"# Shells:"):
            assert len(read_shells(file)) == len(rows)

    return attempt


_responses = st.one_of(
    mutated_tables(_RESPONSE),
    st.tuples(
        st.one_of(
            st.sampled_from([b"# Shells: 0,1000\n", b"# Shells: 0,,1\n", b"# shells: e,-\n"]),
            st.lists(st.sampled_from(ODD_NUMBERS)).map(
                lambda words: f"# Shells: {','.join(words)}\n".encode()
            ),
        ),
        mutated_tables(_RESPONSE),
    ).map(b"".join),
)


def _good_weights() -> bytes:
    import torch
    from safetensors.torch import save

    told = {"preset": "fast", "n_side": "8", "n_level": "3", "filters": "4", "n_order": "4"}
    told |= {"n_shell": "2", "tissues": "WM+CSF", "spatial": "True", "form": "hemisphere"}
    return save({"a": torch.zeros(2, 3)}, told)


@st.composite
def _weights(draw: Any) -> bytes:
    content = _good_weights()
    n_head = int.from_bytes(content[:8], "little")
    head, body = content[8 : 8 + n_head], content[8 + n_head :]
    told = json.loads(head)
    kind = draw(st.sampled_from(["bytes", "head", "metadata", "size"]))
    if kind == "bytes":
        return draw(mutated_bytes(content))
    if kind == "size":
        size = draw(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 200)))
        return size.to_bytes(8, "little") + head + body
    if kind == "metadata":
        told["__metadata__"] = draw(json_values)
    else:
        told["a"] = draw(fields("dtype", "shape", "data_offsets"))
    head = _as_json(told)
    return len(head).to_bytes(8, "little") + head + body


def _prepare_weights(folder: Path) -> Attempt:
    from shd_bids.deconvolution.checkpoint import read_settings

    file = folder / "weights.safetensors"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        preset = read_preset(file)
        assert preset is None or isinstance(preset, str)
        read_settings(file)

    return attempt


_REGIONS = [["index", "name"], ["1", "left"], ["2", "right"]]


def _prepare_regions(folder: Path) -> Attempt:
    file = folder / "atlas.tsv"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        table = read_regions(file)
        assert all(int(index) > 0 for index in table["index"])
        assert len(set(map(int, table["index"]))) == len(table["index"])
        assert len(table["name"]) == len(table["index"])

    return attempt


_regions = st.one_of(
    mutated_tables(_REGIONS),
    st.lists(
        st.lists(
            st.one_of(st.sampled_from(["1", "2", *ODD_NUMBERS]), texts), min_size=2, max_size=3
        )
    )
    .map(lambda rows: "\n".join(["index\tname", *map("\t".join, rows)]))
    .map(lambda text: text.encode("utf-8", "surrogatepass")),
)


# what an earlier run of ours left, and pages that show it

_TAG = re.compile(r"<(script|img|iframe|svg on|object|embed)[^>]*(alert|onerror)", re.I)
_OWN = (
    *("Model", "Methods", "Sources", "Settings", "ResponseFunction", "Training", "Description"),
    *("Tissues", "BValues", "SphericalHarmonicDegree", "SoftwareVersion", "RandomSeed", "Units"),
)


def _prepare_own(folder: Path) -> Attempt:
    out = write_own_tree(folder / "own")
    write_dataset(folder / "bids", ["01"])
    sidecars = sorted(out.glob("sub-01/*/*.json"))
    good = {file: file.read_bytes() for file in sidecars}
    flags = ("--level", "fod", "--fod-model", "csd", "-d", f"shdbids={out}")
    config = _config(folder / "bids", *flags)

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


def _prepare_pages(folder: Path) -> Attempt:
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


_HOSTILE = st.one_of(
    fields(*_OWN, *_SIDECAR).map(_as_json),
    _TEXT_OF_JSON,
    st.sampled_from(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>']).map(
        lambda text: f"{text}\tb\n{text}\t1\n".encode()
    ),
)


PROPERTIES = {
    one.name: one
    for one in (
        Property("images", _images, _prepare_images, r"sub-01_dwi\.nii", n_ci=30, n_fuzz=4000),
        Property(
            "gradients",
            lambda: _gradients,
            _prepare_gradients,
            r"sub-01_dwi\.",
            n_ci=30,
            n_fuzz=4000,
        ),
        Property(
            "mrtrix tables", lambda: mutated_tables(_TABLE), _prepare_mrtrix, r"dwi\.b", n_ci=30
        ),
        Property(
            "sidecars",
            lambda: st.tuples(_TEXT_OF_JSON, _TEXT_OF_JSON),
            _prepare_sidecars,
            r"sub-01_(dwi|dir-PA_epi)\.",
            n_ci=20,
            n_fuzz=3000,
        ),
        Property(
            "dataset descriptions",
            lambda: st.one_of(
                _TEXT_OF_JSON,
                fields("Name", "GeneratedBy", "PipelineDescription", "DatasetType", "License").map(
                    _as_json
                ),
            ),
            _prepare_descriptions,
            r"dataset_description\.json",
            examples=(b'{"PipelineDescription": null}', b'{"Name": "\\ud800"}'),
            n_ci=30,
        ),
        Property(
            "filter files", lambda: _filters, _prepare_filters, r"filter|participant 01", n_ci=40
        ),
        Property(
            "qsiprep trees",
            lambda: st.tuples(_TEXT_OF_JSON, st.one_of(st.none(), mutated_tables(_TABLE))),
            _prepare_qsiprep,
            r"sub-01_space-ACPC_desc-preproc_dwi",
            n_ci=15,
            n_fuzz=600,
        ),
        Property(
            "our own sidecars",
            lambda: st.tuples(st.integers(0, 99), _HOSTILE),
            _prepare_own,
            r"sub-01_",
            examples=tuple((number, b'{"ResponseFunction": null}') for number in range(12)),
            n_ci=10,
            n_fuzz=500,
        ),
        Property(
            "study pages",
            lambda: st.tuples(st.integers(0, 99), _HOSTILE, texts),
            _prepare_pages,
            r"sub-",
            n_ci=10,
            n_fuzz=400,
        ),
        Property("config files", _configs, _prepare_configs, r"--|setting|shd-bids\.toml", n_ci=40),
        Property(
            "responses",
            lambda: _responses,
            _prepare_responses,
            r"response\.txt",
            n_ci=40,
            examples=(b"# Shells: 0,,1\n2000.1 900.5\n0 -300.2\n",),
        ),
        Property(
            "weights",
            _weights,
            _prepare_weights,
            r"weights\.safetensors",
            n_ci=25,
            examples=(_good_weights(), _good_weights().replace(b"hemisphere", b"nonsense..")),
        ),
        Property(
            "atlas tables",
            lambda: _regions,
            _prepare_regions,
            r"atlas\.tsv",
            n_ci=40,
            examples=(b"index\tname\n" + b"1" * 5000 + b"\ta\n", b"index\tname\n1\ta\n2\tb\n"),
        ),
    )
}
logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
