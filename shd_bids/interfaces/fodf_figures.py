"""Nodes that picture responses, fibre orientations and streamlines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, isdefined, traits

from shd_bids.bids.files import write_text
from shd_bids.config import TISSUES
from shd_bids.reports.figures.fit import plot_loss
from shd_bids.reports.figures.fodf import plot_fodf
from shd_bids.reports.figures.images import (
    plot_dec,
    plot_fractions,
    plot_maps,
    plot_residual,
    plot_voxel_selection,
)
from shd_bids.reports.figures.peaks import plot_peaks
from shd_bids.reports.figures.region import choose_regions
from shd_bids.reports.figures.response import plot_responses
from shd_bids.reports.figures.slabs import plot_slabs
from shd_bids.reports.figures.style import model_name
from shd_bids.reports.figures.tracts import plot_tracts
from shd_bids.reports.fragments import data_table, fact_table
from shd_bids.reports.metrics import fraction_metrics, residual_metrics, tract_metrics
from shd_bids.response.estimate import FEW_VOXELS
from shd_bids.response.io import read_response
from shd_bids.tractography.survey import survey
from shd_bids.tractography.tractogram import read_batches

from .nifti import read_affine, read_array, read_mask
from .preproc_figures import FiguresOutputSpec
from .series import load_gradients

_N_SHOWN = 12_000  # streamlines in the picture


class _PlotResponseInputSpec(BaseInterfaceInputSpec):
    gradients_file = File(exists=True, mandatory=True, desc="MRtrix3 table")
    b0_threshold = traits.Float(mandatory=True, desc="largest b-value that counts as b=0")
    shell_tolerance = traits.Float(mandatory=True, desc="b-values this close are one shell")
    response_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="by tissue")
    b0_file = File(exists=True, mandatory=True, desc="mean of the b=0 volumes")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")
    voxels_file = File(exists=True, desc="voxels averaged, 1 WM, 2 GM, 3 CSF")
    voxel_counts = traits.Dict(traits.Str, traits.Int, desc="number of voxels by tissue")
    method = traits.Str(mandatory=True, desc="how the responses came about")
    tissues_reason = traits.Str(mandatory=True, desc="why these tissues")


class PlotResponse(SimpleInterface):
    """Picture the responses and where they were measured."""

    input_spec = _PlotResponseInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        _, shells = load_gradients(spec)
        coefficients = {
            tissue: read_response(Path(file), tissue, shells.bvals).coefficients
            for tissue, file in spec.response_files.items()
        }
        plot_responses(shells.bvals, coefficients, out / "response.svg")
        facts: dict[str, object] = {
            "Tissues": list(coefficients),
            "Why these": spec.tissues_reason,
            "Responses": spec.method,
        }
        counts = spec.voxel_counts or {}
        for tissue, count in counts.items():
            doubt = " (too few to rely on)" if count < FEW_VOXELS else ""
            facts[f"Voxels of {tissue}"] = f"{count}{doubt}"
        write_text(out / "tissues.html", fact_table(facts))
        files = {"response": str(out / "response.svg"), "tissues": str(out / "tissues.html")}
        if isdefined(spec.voxels_file):
            labels = read_array(spec.voxels_file)
            inside = read_array(spec.b0_file) * read_mask(spec.mask_file)
            voxels = {t: labels == TISSUES.index(t) + 1 for t in coefficients}
            file = out / "responsevoxels.png"
            plot_voxel_selection(inside, voxels, read_affine(spec.b0_file), file)
            files["responsevoxels"] = str(file)
        self._results["out_files"] = files
        return runtime


class _ModelsInputSpec(BaseInterfaceInputSpec):
    models = traits.List(traits.Str, mandatory=True, desc="labels, the one that is tracked first")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class _PlotFodfInputSpec(_ModelsInputSpec):
    fod_files = traits.List(traits.Dict, mandatory=True, desc="harmonics by tissue, per model")
    map_files = traits.List(traits.Dict, mandatory=True, desc="image by parameter, per model")
    b0_file = File(exists=True, mandatory=True, desc="mean of the b=0 volumes")


class PlotFodf(SimpleInterface):
    """Picture fibre orientations and peaks of all models in the same voxels."""

    input_spec = _PlotFodfInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        affine, mask = read_affine(spec.mask_file), read_mask(spec.mask_file)
        fodf_sh = {
            model: read_array(files["WM"])
            for model, files in zip(spec.models, spec.fod_files, strict=True)
        }
        nufo = read_array(spec.map_files[0]["nufo"])
        regions = choose_regions(fodf_sh[spec.models[0]], nufo, mask, affine)
        b0 = read_array(spec.b0_file)
        files = {name: out / f"{name}.png" for name in ("fodf", "peaks")}
        plot_fodf(fodf_sh, b0, mask, affine, regions, files["fodf"])
        peaks, afd = (
            {
                model: read_array(maps[name])
                for model, maps in zip(spec.models, spec.map_files, strict=True)
            }
            for name in ("peaks", "afd")
        )
        plot_peaks(peaks, afd, mask, affine, regions, files["peaks"])
        self._results["out_files"] = {name: str(file) for name, file in files.items()}
        return runtime


class _PlotMapsInputSpec(_ModelsInputSpec):
    map_files = traits.List(traits.Dict, mandatory=True, desc="image by parameter, per model")
    fraction_files = traits.List(traits.Dict, mandatory=True, desc="fraction by tissue, per model")
    summary_files = traits.List(File(exists=True), mandatory=True, desc="what was done, per model")
    history_files = traits.List(traits.Any, desc="course of the training, per model")


class PlotMaps(SimpleInterface):
    """Picture the maps of all models and tell their numbers."""

    input_spec = _PlotMapsInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        affine, mask = read_affine(spec.mask_file), read_mask(spec.mask_file)
        by_model = dict(zip(spec.models, spec.map_files, strict=True))
        rmse = {model: read_array(files["rmse"]) for model, files in by_model.items()}
        plot_residual(rmse, mask, affine, out / "residual.png")
        dec = {model: read_array(files["dec"]) for model, files in by_model.items()}
        plot_dec(dec, affine, out / "dec.png")
        afd = {model_name(model): read_array(files["afd"]) for model, files in by_model.items()}
        plot_maps(afd, mask, affine, out / "scalars.png", label="total apparent fibre density")
        fractions = {
            model: {tissue: read_array(file) for tissue, file in files.items()}
            for model, files in zip(spec.models, spec.fraction_files, strict=True)
        }
        plot_fractions(fractions[spec.models[0]], mask, affine, out / "fractions.png")
        files = {name: out / f"{name}.png" for name in ("residual", "dec", "scalars", "fractions")}
        if histories := self._read_histories():
            files["loss"] = plot_loss(histories, out / "loss.svg")
        files["fit"] = out / "fit.html"
        residuals = residual_metrics(rmse, mask)
        write_text(files["fit"], self._tabulate(residuals, fractions, mask))
        self._results["out_files"] = {name: str(file) for name, file in files.items()}
        return runtime

    def _read_histories(self) -> dict[str, Any]:
        """Read the course of those models that were trained."""
        files = self.inputs.history_files or []
        found = {Path(file).parent: json.loads(Path(file).read_text()) for file in files}
        folders = [Path(file).parent for file in self.inputs.summary_files]
        return {
            model: found[folder]
            for model, folder in zip(self.inputs.models, folders, strict=True)
            if folder in found
        }

    def _tabulate(self, residuals: Any, fractions: Any, mask: np.ndarray) -> str:
        rows: dict[str, dict[str, object]] = {}
        for model, file in zip(self.inputs.models, self.inputs.summary_files, strict=True):
            summary = json.loads(Path(file).read_text(encoding="utf-8"))
            row: dict[str, object] = {
                "time, s": round(float(summary.get("seconds", float("nan"))), 1),
                "lmax": summary.get("lmax"),
                "residual, median %": residuals[model]["median_percent"],
                "residual, 95th percentile %": residuals[model]["p95_percent"],
            }
            means = fraction_metrics(fractions[model], mask)
            row |= {f"mean {tissue}": value for tissue, value in means.items()}
            rows[model_name(model)] = row
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        table = [[model, *(row.get(name, "") for name in names)] for model, row in rows.items()]
        return data_table(["model", *names], table)


class _PlotTractsInputSpec(BaseInterfaceInputSpec):
    tck_file = File(exists=True, mandatory=True, desc="streamlines")
    map_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="maps of them")
    mask_file = File(exists=True, mandatory=True, desc="brain mask")


class PlotTracts(SimpleInterface):
    """Picture the streamlines and their density."""

    input_spec = _PlotTractsInputSpec
    output_spec = FiguresOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        spec, out = self.inputs, Path(runtime.cwd)
        affine, mask = read_affine(spec.mask_file), read_mask(spec.mask_file)
        found = survey(read_batches(Path(spec.tck_file)), n_shown=_N_SHOWN, random_seed=0)
        plot_tracts(found.shown, mask, affine, out / "tracts.png")
        plot_slabs(found.shown, mask, affine, out / "slabs.png")
        density = {"streamlines per voxel": read_array(spec.map_files["tdi"])}
        plot_maps(density, mask, affine, out / "density.png", label="streamlines", cmap="hot")
        metrics = tract_metrics(found.lengths_mm)
        facts = {
            "Streamlines": metrics["count"],
            "Length, median": f"{metrics['median_length_mm']:.0f} mm",
            "Length, 95th percentile": f"{metrics['p95_length_mm']:.0f} mm",
        }
        write_text(out / "tractography.html", fact_table(facts))
        self._results["out_files"] = {
            "tracts": str(out / "tracts.png"),
            "slabs": str(out / "slabs.png"),
            "density": str(out / "density.png"),
            "tractography": str(out / "tractography.html"),
        }
        return runtime
