"""Nodes that count what joins the regions of an atlas, and picture it."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.anat.regions import count_voxels, read_regions
from shd_bids.bids.files import write_text
from shd_bids.reports.figures.connectome import PairMatrices, plot_connectomes
from shd_bids.reports.fragments import data_table
from shd_bids.tractography.connectome import (
    Connectome,
    RegionFinder,
    build_connectome,
    unique_names,
)
from shd_bids.tractography.tractogram import read_batches
from shd_bids.tractography.weights import read_weights

from .nifti import read_affine, read_array, read_labels
from .preproc_figures import FiguresOutputSpec
from .tables import read_table, write_table


class _BuildConnectomeInputSpec(BaseInterfaceInputSpec):
    tck_file = File(exists=True, mandatory=True, desc="streamlines")
    atlas_file = File(exists=True, mandatory=True, desc="label image on the series' grid")
    table_file = File(exists=True, mandatory=True, desc="its regions, TSV")
    afd_file = File(exists=True, mandatory=True, desc="total apparent fibre density")
    weights_file = File(exists=True, desc="one weight per streamline, TSV")
    radius_mm = traits.Float(mandatory=True, desc="an end reaches so far")


class _BuildConnectomeOutputSpec(TraitedSpec):
    table_files = traits.Dict(
        traits.Str,
        File(exists=True),
        desc="matrices: count, meanlength, meanafd and, with weights, weightsum; and nodes",
    )
    found = traits.Dict(desc="fields of the sidecars")


class BuildConnectome(SimpleInterface):
    """Count the streamlines between each pair of regions of one atlas."""

    input_spec = _BuildConnectomeInputSpec
    output_spec = _BuildConnectomeOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        regions, labels = read_regions(Path(spec.table_file)), read_labels(spec.atlas_file)
        numbers = [int(number) for number in regions["index"]]
        found = build_connectome(
            read_batches(Path(spec.tck_file)),
            RegionFinder(
                labels, read_affine(spec.atlas_file), numbers, radius_mm=spec.radius_mm
            ),
            len(numbers),
            afd=read_array(spec.afd_file),
            affine=read_affine(spec.afd_file),
            weights=read_weights(Path(spec.weights_file)) if isdefined(spec.weights_file) else None,
        )  # fmt: skip
        names = unique_names(regions["name"], regions["index"])
        files = {
            name: write_table(
                {"name": names} | dict(zip(names, matrix.T, strict=True)), out / f"{name}.tsv"
            )
            for name, matrix in _matrices(found).items()
        }
        nodes: dict[str, Any] = {
            "index": regions["index"],
            "name": names,
            "n_voxels": list(count_voxels(labels, regions).values()),
            "n_ends": found.n_ends,
        }
        files["nodes"] = write_table(nodes, out / "nodes.tsv")
        self._results["table_files"] = files
        self._results["found"] = {
            "AssignmentRadiusMillimetres": spec.radius_mm,
            "StreamlineCount": found.n_streamlines,
            "AssignedStreamlineCount": found.n_streamlines - found.n_lost,
        }
        return runtime


class _PlotConnectomesInputSpec(BaseInterfaceInputSpec):
    names = InputMultiObject(traits.Str, mandatory=True, desc="of the atlases")
    table_files = InputMultiObject(traits.Dict, mandatory=True, desc="matrices of each atlas")
    found = InputMultiObject(traits.Dict, mandatory=True, desc="fields of each sidecar")


class PlotConnectomes(SimpleInterface):
    """Picture counts and lengths between the regions of atlases, and list what was assigned."""

    input_spec = _PlotConnectomesInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        drawn = {}
        for name, files in zip(spec.names, spec.table_files, strict=True):
            regions, count = read_matrix(files["count"])
            _, length = read_matrix(files["meanlength"])
            drawn[name] = PairMatrices(regions, count.astype(np.int64), length)
        plot_connectomes(drawn, out / "connectomes.png")
        rows = [
            _describe(name, drawn[name], found)
            for name, found in zip(spec.names, spec.found, strict=True)
        ]
        columns = ["atlas", "regions", "streamlines", "joining regions, %", "pairs joined, %"]
        write_text(out / "connectomenumbers.html", data_table(columns, rows))
        self._results["out_files"] = {
            "connectomes": str(out / "connectomes.png"),
            "connectomenumbers": str(out / "connectomenumbers.html"),
        }
        return runtime


def read_matrix(file: str) -> tuple[list[str], Float[np.ndarray, "region region"]]:
    """Read a matrix and the names of its rows; `n/a` is NaN."""
    table = read_table(file, texts=["name"])
    return table["name"].tolist(), table.drop(columns="name").to_numpy(np.float64)


def _matrices(found: Connectome) -> dict[str, np.ndarray]:
    matrices = {
        "count": found.count,
        "meanlength": found.mean_length_mm,
        "meanafd": found.mean_afd,
    }
    return matrices if found.weight_sum is None else matrices | {"weightsum": found.weight_sum}


def _describe(name: str, matrices: PairMatrices, found: dict[str, Any]) -> list[object]:
    n_region, n_all = len(matrices.regions), found["StreamlineCount"]
    n_pair = n_region * (n_region - 1) // 2
    n_joined = int(np.count_nonzero(np.triu(matrices.count, 1)))
    return [
        name,
        n_region,
        n_all,
        round(100 * found["AssignedStreamlineCount"] / max(n_all, 1), 1),
        round(100 * n_joined / max(n_pair, 1), 1),
    ]
