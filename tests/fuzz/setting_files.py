"""Settings, responses, weights and tables of atlases of any content."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.common import Attempt, as_json, settings_of
from fuzz.gradient_files import read_text
from fuzz.strategies import (
    ODD_NUMBERS,
    fields,
    json_values,
    mutated_bytes,
    mutated_tables,
    texts,
)
from hypothesis import strategies as st

from shd_bids.anat.regions import read_regions
from shd_bids.cli.weights import read_preset
from shd_bids.config import config_text
from shd_bids.response.io import read_response, read_shells


def good_config(folder: Path) -> bytes:
    (folder / "bids").mkdir(parents=True, exist_ok=True)
    (folder / "good.toml").write_text(config_text(settings_of(folder / "bids")))
    return (folder / "good.toml").read_bytes()


@st.composite
def configs(draw: Any) -> bytes:
    lines = _GOOD_CONFIG.decode().splitlines()
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
_GIVEN = ("bids_dir", "output_dir", "analysis_level", "verbosity")  # by the command line


def prepare_configs(folder: Path) -> Attempt:
    global _GOOD_CONFIG  # the strategy needs it, and it needs a folder
    _GOOD_CONFIG = good_config(folder)
    file = folder / "shd-bids.toml"

    def attempt(content: bytes) -> None:
        import tomllib

        file.write_bytes(content)
        config = settings_of(folder / "bids", "--config-file", str(file))
        table, asked = config.to_table(), tomllib.loads(content.decode("utf-8-sig"))
        for section, values in asked.items():
            for key, value in values.items():
                got = table[section].get(key)
                if isinstance(value, bool | int | float) and key not in _GIVEN:
                    assert got == value, (section, key, value, got)
        (folder / "again.toml").write_text(config_text(config))

    return attempt


_RESPONSE = [["2000.1", "0", "0"], ["900.5", "-300.2", "50.1"]]


def prepare_responses(folder: Path) -> Attempt:
    file, shells = folder / "response.txt", np.array([0.0, 1000.0])

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        response = read_response(file, "WM", shells)
        assert response.coefficients.shape[0] == 2
        assert np.isfinite(response.coefficients).all()
        rows = read_text(content)
        given = [[row[0] for row in rows]] if len(rows) == 2 else None
        if given:
            np.testing.assert_allclose(response.coefficients[:, 0], given[0])
        if content.lstrip().startswith(b"# Shells:"):
            assert len(read_shells(file)) == len(rows)

    return attempt


responses = st.one_of(
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


def good_weights() -> bytes:
    import torch
    from safetensors.torch import save

    told = {"preset": "fast", "n_side": "8", "n_level": "3", "filters": "4", "n_order": "4"}
    told |= {"n_shell": "2", "tissues": "WM+CSF", "spatial": "True", "form": "hemisphere"}
    return save({"a": torch.zeros(2, 3)}, told)


@st.composite
def weights(draw: Any) -> bytes:
    content = good_weights()
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
    head = as_json(told)
    return len(head).to_bytes(8, "little") + head + body


def prepare_weights(folder: Path) -> Attempt:
    from shd_bids.deconvolution.checkpoint import read_settings

    file = folder / "weights.safetensors"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        preset = read_preset(file)
        assert preset is None or isinstance(preset, str)
        read_settings(file)

    return attempt


_REGIONS = [["index", "name"], ["1", "left"], ["2", "right"]]


def prepare_regions(folder: Path) -> Attempt:
    file = folder / "atlas.tsv"

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        table = read_regions(file)
        assert all(int(index) > 0 for index in table["index"])
        assert len(set(map(int, table["index"]))) == len(table["index"])
        assert len(table["name"]) == len(table["index"])

    return attempt


regions = st.one_of(
    mutated_tables(_REGIONS),
    st.lists(
        st.lists(
            st.one_of(st.sampled_from(["1", "2", *ODD_NUMBERS]), texts), min_size=2, max_size=3
        )
    )
    .map(lambda rows: "\n".join(["index\tname", *map("\t".join, rows)]))
    .map(lambda text: text.encode("utf-8", "surrogatepass")),
)
