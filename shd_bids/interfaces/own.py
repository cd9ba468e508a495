"""The node that reads what an earlier run told of its fit."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from shd_bids.bids.files import write_json
from shd_bids.bids.own import read_fields


class _ReadFitInputSpec(BaseInterfaceInputSpec):
    fod_files = traits.Dict(traits.Str, File(exists=True), mandatory=True, desc="by tissue")
    weights_file = File(exists=True, desc="of the network")


class _ReadFitOutputSpec(TraitedSpec):
    summary_file = File(desc="what was done, JSON")
    history_file = File(desc="course of the training, JSON; only where there was one")


class ReadFit(SimpleInterface):
    """Write, from the sidecars of a fit, what the fit itself had written."""

    input_spec = _ReadFitInputSpec
    output_spec = _ReadFitOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        out = Path(runtime.cwd)
        settings = read_fields(Path(self.inputs.fod_files["WM"])).get("Settings", {})
        write_json(out / "summary.json", settings)
        self._results["summary_file"] = str(out / "summary.json")
        if isdefined(self.inputs.weights_file):
            training = read_fields(Path(self.inputs.weights_file)).get("Training")
            if training:
                history_file = out / "history.json"
                write_json(history_file, training)
                self._results["history_file"] = str(history_file)
        return runtime
