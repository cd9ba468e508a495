"""The node that pictures bundles of known anatomy."""

from pathlib import Path
from typing import Any

import pandas as pd
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, traits

from shd_bids.bids.files import write_text
from shd_bids.reports.figures.bundles import plot_bundles, plot_profiles
from shd_bids.reports.fragments import data_table
from shd_bids.tractography.draw import draw_streamlines
from shd_bids.tractography.profiles import Profile
from shd_bids.tractography.tractogram import read_batches

from .nifti import read_affine, read_mask
from .preproc_figures import FiguresOutputSpec
from .tables import read_table

_N_SHOWN, _N_SHOWN_NODE = 400, 60


class _PlotBundlesInputSpec(BaseInterfaceInputSpec):
    bundle_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="TCK by bundle")
    table_file = File(exists=True, mandatory=True, desc="count, length, volume by bundle")
    profiles_file = File(exists=True, mandatory=True, desc="maps along the bundles")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class PlotBundles(SimpleInterface):
    """Picture the bundles that were found and the maps along them."""

    input_spec = _PlotBundlesInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        table = read_table(spec.table_file, texts=["bundle", "start"])
        rows = read_table(spec.profiles_file, texts=["bundle", "map"])
        bundles = {
            label: draw_streamlines(
                read_batches(Path(file)), n_most=_N_SHOWN, random_seed=0, n_node=_N_SHOWN_NODE
            ).lines(_N_SHOWN_NODE)
            for label, file in spec.bundle_files.items()
        }
        mask, affine = read_mask(spec.mask_file), read_affine(spec.mask_file)
        files = {name: out / name for name in ("bundles.png", "profiles.svg", "bundletable.html")}
        plot_bundles(bundles, mask, affine, files["bundles.png"])
        profiles = {
            str(name): {
                str(label): Profile(some["mean"].to_numpy(float), some["std"].to_numpy(float))
                for label, some in of_map.groupby("bundle", sort=False)
            }
            for name, of_map in rows.groupby("map", sort=False)
        }
        starts = dict(zip(table["bundle"], table["start"], strict=True))
        plot_profiles(profiles, starts, files["profiles.svg"])
        write_text(files["bundletable.html"], _tabulate(table))
        self._results["out_files"] = {file.stem: str(file) for file in files.values()}
        return runtime


def _tabulate(table: pd.DataFrame) -> str:
    names = ["bundle", "streamlines", "mean length, mm", "volume, cm³", "profile starts"]
    rows: list[list[object]] = []
    for row in table.to_dict("records"):
        n_line, length_mm, volume_cm3 = (
            row["n_streamlines"], row["mean_length_mm"], row["volume_mm3"] / 1000
        )  # fmt: skip
        if n_line:
            rows.append(
                [row["bundle"], n_line, round(length_mm), round(volume_cm3, 1), row["start"]]
            )
        else:
            rows.append([row["bundle"], "not found", "", "", ""])
    return data_table(names, rows)
