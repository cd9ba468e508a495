"""Whether weights that are given fit a series, told before anything runs."""

from collections.abc import Sequence

from shd_bids.config import LEVELS, SHD_MODELS, TISSUES, RunConfig
from shd_bids.deconvolution.presets import VARIANTS, get_preset
from shd_bids.deconvolution.tensor_file import list_differences, read_text
from shd_bids.errors import WeightsError


def check_weights(config: RunConfig, models: Sequence[str], n_shell: int) -> None:
    """Refuse `--weights` of another network than the one that a series needs.

    Parameters
    ----------
    config
        Settings of the run, resources resolved.
    models
        To be fitted.
    n_shell
        Of the series, b=0 included.

    Raises
    ------
    WeightsError
        With what differs.
    """
    deconv, level = config.deconv, config.execution.level
    networks = [model for model in models if model in SHD_MODELS]
    if deconv.weights is None or not networks or LEVELS.index(level) < LEVELS.index("fod"):
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
