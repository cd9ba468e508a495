"""What the methods say of each model of fibre orientations."""

from shd_bids.config import SHD_MODELS, DeconvConfig
from shd_bids.deconvolution.presets import Preset, get_preset, steps_of_study
from shd_bids.reports.versions import library_version
from shd_bids.sphere.harmonics import largest_degree

_NETWORKS = {
    "shd-tv": "SHD-TV, an unsupervised E(3) x SO(3) equivariant spatio-hemispherical network with "
    "total variation [@shdtv]",
    "shd": "SHD, an unsupervised E(3) x SO(3) equivariant spatio-hemispherical network [@shdtv]",
    "esd": "ESD, an unsupervised SO(3) equivariant spherical network that takes each voxel alone "
    "[@esd]",
    "rt-esd": "RT-ESD, an unsupervised E(3) x SO(3) equivariant network on the full sphere "
    "[@rtesd]",
}
_CLASSICAL = {
    "csd": "Constrained spherical deconvolution [@csd] as implemented in {dipy} was fitted to the "
    "highest shell{degree}. ",
    "msmt-csd": "Multi-shell multi-tissue constrained spherical deconvolution [@msmtcsd], solved "
    "exactly by shd-bids, was fitted to all shells{degree}. ",
    "rumba": "Robust and unbiased model-based spherical deconvolution [@rumba] as implemented in "
    "{dipy} was fitted to all shells with the same response functions{degree}. ",
    "rumba-tv": "Robust and unbiased model-based spherical deconvolution with total variation "
    "between voxels [@rumba], in the iteration that {dipy} implements, was fitted to all shells "
    "with the same response functions{degree}. ",
}
_START = "From a non-negative deconvolution that keeps neighbouring voxels alike [@reisert2011], "
_LOBE = (
    "The distribution of a single fibre is an apodised delta function [@raffelt2012reorientation]; "
    "the apodisation was divided out, degree by degree, to predict the signal. "
)


def describe_model(model: str, deconv: DeconvConfig, *, n_direction: int) -> str:
    """Say how one model was fitted.

    Parameters
    ----------
    model
        One of the models of `--fod-model`.
    deconv
        Settings of the stage, resolved.
    n_direction
        Volumes of the highest shell.

    Returns
    -------
    str
        Markdown with citation keys.
    """
    if model in SHD_MODELS:
        return _describe_network(model, deconv)
    lmax = deconv.lmax
    if model == "csd":
        lmax = min(lmax, largest_degree(n_direction, lmax) + 2)  # as `fit_csd` has it
    degree = f", to spherical harmonics of degree {lmax}"
    return _CLASSICAL[model].format(dipy=f"DIPY {library_version('DIPY')} [@dipy]", degree=degree)


def describe_study(model: str, deconv: DeconvConfig, *, n_scan: int) -> str:
    """Say how one network was trained for many scans.

    Parameters
    ----------
    model
        One that has a network.
    deconv
        Settings of the stage, resolved.
    n_scan
        Scans that it is trained on.

    Returns
    -------
    str
        Markdown with citation keys.
    """
    preset = get_preset(deconv.shd_preset or "standard")
    steps = deconv.shd_steps or steps_of_study(preset, n_scan)
    return (
        f"One network of {_NETWORKS[model]}, was trained without labels for all of them in "
        f"{steps:,} steps of {preset.batch} patches (preset *{deconv.shd_preset}*, random seed "
        f"{deconv.random_seed}), in PyTorch {library_version('PyTorch')} [@pytorch]. "
        f"{'' if model == 'esd' else _START + 'it learned to predict each scan, '}"
        "the scans being visited in turn, each as often as the others. "
    )


def _describe_network(model: str, deconv: DeconvConfig) -> str:
    preset = get_preset(deconv.shd_preset or "standard")
    lmax = min(deconv.lmax, preset.largest_degree)
    where = "a graphics card" if deconv.device == "cuda" else "the CPU"
    return (
        f"Fibre orientation distributions were estimated, to spherical harmonics of degree {lmax}, "
        f"with {_NETWORKS[model]}, in PyTorch {library_version('PyTorch')} [@pytorch] on {where}. "
        f"{'' if model == 'esd' else _START}{_describe_weights(model, deconv, preset)}{_LOBE}"
    )


def _describe_weights(model: str, deconv: DeconvConfig, preset: Preset) -> str:
    """Say where the network's weights come from."""
    the = "The" if model == "esd" else "the"
    if deconv.weights:
        return (
            f"{the} network predicted with weights that were given ({deconv.weights.name}); it was "
            "not trained on this scan. "
        )
    weighted = model == "shd-tv" and deconv.tv_weight is not None
    tv = f", total variation weighted by {deconv.tv_weight:g}" if weighted else ""
    return (
        f"{the} network learned on this scan alone to predict it, in "
        f"{deconv.shd_steps or preset.steps:,} steps of {preset.batch} patches (preset "
        f"*{deconv.shd_preset}*, random seed {deconv.random_seed}{tv}). "
    )
