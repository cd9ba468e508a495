"""Whether responses and weights that are given fit a series, told before anything runs."""

from collections.abc import Sequence

import numpy as np

from shd_bids.config import LEVELS, SHD_MODELS, TISSUES, RunConfig
from shd_bids.deconvolution.presets import VARIANTS, get_preset
from shd_bids.deconvolution.tensor_file import list_differences, read_text
from shd_bids.errors import WeightsError
from shd_bids.response.io import read_response


def check_given(config: RunConfig, models: Sequence[str], shell_bvals: Sequence[float]) -> None:
    """Refuse `--response` and `--weights` that a series cannot be fitted with.

    Parameters
    ----------
    config
        Settings of the run, resources resolved.
    models
        To be fitted.
    shell_bvals
        Of the series, b=0 first, s/mm².

    Raises
    ------
    ResponseError
        When a response is no table of numbers or is of other shells.
    WeightsError
        When the weights are of another network.
    """
    level = LEVELS.index(config.execution.level)
    if level >= LEVELS.index("response"):
        for tissue, file in config.response.files.items():
            read_response(file, tissue, np.asarray(shell_bvals))
    if level >= LEVELS.index("fod"):
        _check_weights(config, models, len(shell_bvals))


def _check_weights(config: RunConfig, models: Sequence[str], n_shell: int) -> None:
    deconv = config.deconv
    networks = [model for model in models if model in SHD_MODELS]
    if deconv.weights is None or not networks:
        return
    preset = get_preset(deconv.shd_preset or "fast")
    wanted = config.response.files or (TISSUES if n_shell > 2 else ("WM", "CSF"))
    told = read_text(deconv.weights)
    for model in networks:
        needed = {
            "n_side": preset.n_side,
            "n_level": preset.n_level,
            "filters": preset.filters,
            "n_order": preset.n_order,
            "n_shell": n_shell,
            "tissues": "+".join(tissue for tissue in TISSUES if tissue in wanted),
            "spatial": True,
            "form": "commuted",
            **VARIANTS.get(model, {}),
        }
        expected = {name: str(value) for name, value in needed.items()}
        if differing := list_differences(told, expected):
            raise WeightsError(
                f"--weights {deconv.weights} do not fit {model} and this series (n_shell counts "
                f"b=0): {'; '.join(differing)}. Choose the --shd-preset and --fod-model that they "
                "were trained with, and data with the same shells, or leave --weights out."
            )
