"""What stands beside a data file: the fields of its JSON sidecar.

Fibre orientation distributions follow BIDS extension proposal 16, whose prose and schema differ
in one key (``SphericalHarmonicBasis`` and ``SphericalHarmonicsBasis``): both are written.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shd_bids.bids.description import dataset_description, write_dataset_files
from shd_bids.bids.files import dataset_lock, replace_file, write_json, write_text

__all__ = [
    "bids_uri",
    "dataset_description",
    "dataset_lock",
    "fodf_sidecar",
    "generic_sidecar",
    "model_fields",
    "model_sidecar",
    "replace_file",
    "response_sidecar",
    "tractogram_sidecar",
    "write_dataset_files",
    "write_json",
    "write_text",
]

MODEL_DESCRIPTIONS = {
    "shdtv": "Spherical deconvolution by an E(3) x SO(3) equivariant network with total variation",
    "shd": "Spherical deconvolution by an E(3) x SO(3) equivariant network",
    "esd": "Spherical deconvolution, voxel by voxel, by an SO(3) equivariant network",
    "rtesd": "Spherical deconvolution by an E(3) x SO(3) equivariant network on the full sphere",
    "csd": "Constrained spherical deconvolution",
    "msmtcsd": "Multi-shell multi-tissue constrained spherical deconvolution",
    "rumba": "Robust and unbiased model-based spherical deconvolution",
    "rumbatv": "Robust and unbiased model-based spherical deconvolution with total variation",
}
_MODEL_URLS = {
    "shdtv": "https://arxiv.org/abs/2411.11819",
    "shd": "https://arxiv.org/abs/2411.11819",
    "esd": "https://arxiv.org/abs/2102.09462",
    "rtesd": "https://arxiv.org/abs/2304.06103",
    "csd": "https://doi.org/10.1016/j.neuroimage.2007.02.016",
    "msmtcsd": "https://doi.org/10.1016/j.neuroimage.2014.07.061",
    "rumba": "https://doi.org/10.1371/journal.pone.0138910",
    "rumbatv": "https://doi.org/10.1371/journal.pone.0138910",
}
_NON_NEGATIVE = ("msmtcsd", "rumba", "rumbatv")
_LOBE_DESCRIPTION = (
    "One fibre is an apodised delta function: at degree l it has FibreLobe[l / 2] times the "
    "coefficients of a delta function. To predict the signal, divide by these factors, degree by "
    "degree, before the convolution with ResponseFunction."
)
_SH_URL = "https://mrtrix.readthedocs.io/en/3.0.3/concepts/spherical_harmonics.html"


def generic_sidecar(
    *,
    description: str,
    sources: Sequence[str],
    version: str,
    units: str | None = None,
    settings: Mapping[str, Any] | None = None,
    random_seed: int | None = None,
    spatial_reference: str | None = "orig",
) -> dict[str, Any]:
    """Give the fields that every sidecar holds.

    Parameters
    ----------
    description
        What the file is, in one sentence.
    sources
        BIDS URIs, as made by `bids_uri`.
    version
        Version of shd-bids.
    units
        Of the values, when they have one.
    settings
        Settings of the step that made the file.
    random_seed
        Seed, for a step that draws random numbers.
    spatial_reference
        What an image is aligned to: ``orig`` is its own space; None for what is no image.

    Returns
    -------
    dict[str, Any]
        Content of a sidecar.
    """
    fields: dict[str, Any] = {"Description": description, "Sources": list(sources)}
    if spatial_reference is not None:
        fields["SpatialReference"] = spatial_reference
    if units is not None:
        fields["Units"] = units
    if settings:
        fields["Settings"] = dict(settings)
    if random_seed is not None:
        fields["RandomSeed"] = random_seed
    fields["SoftwareVersion"] = f"shd-bids {version}"
    return fields


def bids_uri(file: Path, *, links: Mapping[str, Path], output_dir: Path) -> str:
    """Name a file by a BIDS URI: ``bids:raw:...`` in the input, ``bids::...`` in the output.

    Parameters
    ----------
    file
        In the output or in one of the linked datasets.
    links
        Roots of datasets by the names that ``DatasetLinks`` gives them.
    output_dir
        Root of the output dataset.

    Returns
    -------
    str
        A URI; an absolute one where the file lies in none of these.
    """
    absolute = file.absolute()
    roots = {"bids::": output_dir, **{f"bids:{name}:": folder for name, folder in links.items()}}
    for prefix, root in roots.items():
        with suppress(ValueError):
            return prefix + absolute.relative_to(root.absolute()).as_posix()
    return absolute.as_uri()


def fodf_sidecar(
    *,
    model: str,
    tissue: str,
    lmax: int,
    response_bvals: Sequence[float],
    response_coefficients: Sequence[Sequence[float]],
    sources: Sequence[str],
    version: str,
    settings: Mapping[str, Any] | None = None,
    random_seed: int | None = None,
    fibre_lobe: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Give the sidecar of a fibre orientation distribution or of an isotropic tissue.

    Parameters
    ----------
    model
        ``shdtv``, ``shd``, ``esd``, ``rtesd``, ``csd``, ``msmtcsd``, ``rumba`` or ``rumbatv``.
    tissue
        ``WM``, ``GM`` or ``CSF``.
    lmax
        Degree of the spherical harmonics; 0 for an isotropic tissue.
    response_bvals
        b-value of each row of the response, s/mm².
    response_coefficients
        Zonal coefficients, shell by degree; rows may differ in length and are padded with zeros.
    sources, version, settings, random_seed
        As in `generic_sidecar`.
    fibre_lobe
        Share of a delta function's coefficients that one fibre has, by even degree; for a model
        that takes fibres as such lobes.

    Returns
    -------
    dict[str, Any]
        BEP016 fields and the general ones.
    """
    orientation: dict[str, Any] = {"Type": "sh" if lmax > 0 else "scalar", "Reference": "xyz"}
    if lmax > 0:
        orientation |= {
            "EncodingAxis": 3,
            "SphericalHarmonicBasis": "mrtrix3",
            "SphericalHarmonicDegree": lmax,
            "SphericalHarmonicsBasis": "mrtrix3",
            "SphericalHarmonicsDegree": lmax,
        }
    description = (
        f"Fibre orientation distribution of {tissue}, directions in scanner RAS+ axes."
        if lmax > 0
        else f"Isotropic coefficient of {tissue}: l = 0 in MRtrix3's scale."
    )
    lobe: dict[str, Any] = {}
    if fibre_lobe is not None:
        description += f" {_LOBE_DESCRIPTION}"
        lobe["FibreLobe"] = list(fibre_lobe)
    general = generic_sidecar(
        description=description,
        sources=sources,
        version=version,
        units="arbitrary",
        settings=settings,
        random_seed=random_seed,
    )
    return {
        **model_fields(model),
        "OrientationEncoding": orientation,
        "AntipodalSymmetry": True,
        "NonNegativity": "constrained" if model in _NON_NEGATIVE else "regularized",
        "ResponseFunction": _response_fields(response_bvals, response_coefficients),
        **lobe,
        "ParameterURL": _SH_URL,
        "FillValue": 0,
        **general,
    }


def model_fields(model: str) -> dict[str, Any]:
    """Name the model that a map was made with, as BEP016 wants it beside every map.

    Parameters
    ----------
    model
        As in `fodf_sidecar`.

    Returns
    -------
    dict[str, Any]
        ``Model``.
    """
    return {"Model": {"Description": MODEL_DESCRIPTIONS[model], "URL": _MODEL_URLS[model]}}


def response_sidecar(
    *,
    tissue: str,
    method: str,
    bvals: Sequence[float],
    coefficients: Sequence[Sequence[float]],
    sources: Sequence[str],
    version: str,
    n_voxel: int | None = None,
) -> dict[str, Any]:
    """Give the sidecar of a response function.

    Parameters
    ----------
    tissue
        ``WM``, ``GM`` or ``CSF``.
    method
        How it came about, in words.
    bvals, coefficients
        One row per shell, b=0 first; scanner units.
    sources, version
        As in `generic_sidecar`.
    n_voxel
        Number of voxels that it was estimated from.

    Returns
    -------
    dict[str, Any]
        Its fields.
    """
    general = generic_sidecar(
        description=f"Response function of {tissue}: zonal spherical harmonics, MRtrix3 text.",
        sources=sources,
        version=version,
        units="scanner units",
        settings={"NumberOfVoxels": n_voxel} if n_voxel is not None else None,
        spatial_reference=None,
    )
    fields = _response_fields(bvals, coefficients)
    return {"Model": {"Description": method}, "ResponseFunction": fields, **general}


def tractogram_sidecar(
    *,
    method: str,
    n_streamlines: int,
    sources: Sequence[str],
    version: str,
    settings: Mapping[str, Any] | None = None,
    random_seed: int | None = None,
    spatial_reference: str | None = None,
) -> dict[str, Any]:
    """Give the sidecar of a tractogram.

    Parameters
    ----------
    method
        ``probabilistic``, ``deterministic`` or ``ptt``.
    n_streamlines
        Number of streamlines in the file.
    sources, version, settings, random_seed
        As in `generic_sidecar`.
    spatial_reference
        URI of the image that the streamlines lie over.

    Returns
    -------
    dict[str, Any]
        Its fields.
    """
    general = generic_sidecar(
        description=f"Streamlines by {method} tracking; points in scanner RAS+ mm.",
        spatial_reference=spatial_reference,
        sources=sources,
        version=version,
        units="mm",
        settings=settings,
        random_seed=random_seed,
    )
    return {"TractographyMethod": method, "StreamlineCount": n_streamlines, **general}


def model_sidecar(
    *,
    model: str,
    lmax: int,
    tissues: Sequence[str],
    shell_bvals: Sequence[float],
    sources: Sequence[str],
    version: str,
    settings: Mapping[str, Any] | None = None,
    random_seed: int | None = None,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the sidecar of network weights: what is needed to use them again.

    Parameters
    ----------
    model
        ``shdtv``, ``shd``, ``esd`` or ``rtesd``.
    lmax
        Degree of the fibre orientation distribution.
    tissues
        Those that the network was trained with.
    shell_bvals
        Shells that it expects, b=0 first, s/mm².
    sources, version, settings, random_seed
        As in `generic_sidecar`.
    training
        Course of the training by step; None for weights that were trained elsewhere.

    Returns
    -------
    dict[str, Any]
        Its fields.
    """
    general = generic_sidecar(
        description="Weights of the network, in safetensors format.",
        spatial_reference=None,
        sources=sources,
        version=version,
        settings=settings,
        random_seed=random_seed,
    )
    return {
        **model_fields(model),
        "SphericalHarmonicDegree": lmax,
        "Tissues": list(tissues),
        "BValues": [float(bval) for bval in shell_bvals],
        **({"Training": dict(training)} if training else {}),
        **general,
    }


def _response_fields(
    bvals: Sequence[float], coefficients: Sequence[Sequence[float]]
) -> dict[str, Any]:
    width = max(len(row) for row in coefficients)
    padded = [[float(c) for c in row] + [0.0] * (width - len(row)) for row in coefficients]
    return {
        "Type": "zsh",
        "Coefficients": padded,
        "BValues": [float(bval) for bval in bvals],
        "Units": "scanner units",
    }
