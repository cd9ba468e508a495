"""Nodes that check an atlas before it is brought to the series, and count its voxels there."""

import logging
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec

from shd_bids.anat.regions import check_labels, count_voxels, read_regions
from shd_bids.dwi.images import open_image

from .nifti import read_labels, write_array
from .tables import write_table

LOGGER = logging.getLogger(__name__)


class _CheckAtlasInputSpec(BaseInterfaceInputSpec):
    atlas_file = File(exists=True, mandatory=True, desc="label image")
    table_file = File(exists=True, mandatory=True, desc="its regions, TSV")


class _CheckAtlasOutputSpec(TraitedSpec):
    atlas_file = File(desc="3-D, 32-bit integers")


class CheckAtlas(SimpleInterface):
    """Check that every label of an atlas has a name."""

    input_spec = _CheckAtlasInputSpec
    output_spec = _CheckAtlasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        image, table = Path(self.inputs.atlas_file), Path(self.inputs.table_file)
        data = open_image(image).get_fdata(caching="unchanged")
        labels = check_labels(data, read_regions(table), image=image, table=table)
        self._results["atlas_file"] = write_array(labels, image, Path(runtime.cwd) / "atlas.nii.gz")
        return runtime


class _TabulateRegionsInputSpec(BaseInterfaceInputSpec):
    atlas_file = File(exists=True, mandatory=True, desc="label image on the series' grid")
    table_file = File(exists=True, mandatory=True, desc="its regions, TSV")


class _TabulateRegionsOutputSpec(TraitedSpec):
    table_file = File(desc="the same with the number of voxels, TSV")


class TabulateRegions(SimpleInterface):
    """Write how many voxels each region has on the series' grid; warn of those that have none."""

    input_spec = _TabulateRegionsInputSpec
    output_spec = _TabulateRegionsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        table = Path(self.inputs.table_file)
        regions = read_regions(table)
        counts = count_voxels(read_labels(self.inputs.atlas_file), regions)
        lost = [
            name for number, name in zip(regions["index"], regions["name"], strict=True)
            if counts[number] == 0
        ]  # fmt: skip
        if lost:
            LOGGER.warning(
                "%d of %d regions of %s have no voxel on the series' grid: %s. They are too small, "
                "or outside of the field of view.",
                len(lost), len(counts), table.name, ", ".join(lost),
            )  # fmt: skip
        self._results["table_file"] = write_table(
            regions | {"n_voxels": list(counts.values())}, Path(runtime.cwd) / "regions.tsv"
        )
        return runtime
