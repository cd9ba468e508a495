"""Why a result of an earlier run is not the one that is asked for; flags win.

Each function gives its reasons in words that name the flag or the file, and none where all fits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from shd_bids.anat.atlas import Atlas
from shd_bids.bids.files import gzip_trailer
from shd_bids.bids.own import OwnModel, OwnResults
from shd_bids.config import SHD_MODELS, TISSUES, RunConfig
from shd_bids.deconvolution.recorded import AskedFit, differences
from shd_bids.dwi.images import open_image
from shd_bids.errors import ImageError, ResponseError
from shd_bids.response.io import read_response

from .response import is_matched
from .sources import Series

MAPS = ("peaks", "rmse", "afd", "nufo", "gfa", "dec")
_SAME_PLACE_MM = 0.01
_SAME_COEFFICIENT = 1e-6  # of the largest: responses are written with ten digits


def why_unusable(file: Path, series: nib.Nifti1Image) -> str:
    """Say what is wrong with an image, by its header and its last bytes."""
    try:
        image = open_image(file)
    except ImageError as error:
        return str(error).rstrip(".")
    if image.shape[:3] != series.shape[:3] or not np.allclose(
        np.asarray(image.affine), np.asarray(series.affine), atol=_SAME_PLACE_MM
    ):
        return f"{file.name} lies on another grid than the series"
    trailer, header = gzip_trailer(file), image.header
    offset = cast(ArrayProxy, image.dataobj).offset
    n_byte = offset + int(np.prod(image.shape)) * header["bitpix"].item() // 8
    if trailer is not None and trailer[1] != n_byte % 2**32:
        return f"{file.name} is truncated"
    return ""


def read_checksums(own: OwnResults, series: Series) -> dict[str, str]:
    """Read the checksums of what models are fitted to, as sidecars record them."""
    files = {"Series": series.source_files[0], "Mask": own.mask_file}
    trailers = {what: gzip_trailer(file) for what, file in files.items() if file}
    return {what: trailer[0] for what, trailer in trailers.items() if trailer}


def _why_stale(fields: Mapping[str, Any], checksums: Mapping[str, str]) -> list[str]:
    recorded = fields.get("SourceChecksums") or {}
    return [
        f"it was made from another {what.lower()} than the one there now"
        for what, checksum in checksums.items()
        if recorded.get(what, checksum) != checksum
    ]


def why_not_responses(
    own: OwnResults,
    config: RunConfig,
    shell_bvals: Sequence[float],
    checksums: Mapping[str, str],
) -> list[str]:
    """Say why the responses there are not those that are asked for."""
    given, wanted = config.response.files, TISSUES if len(shell_bvals) > 2 else ("WM", "CSF")
    tissues = tuple(tissue for tissue in TISSUES if tissue in (given or wanted))
    missing = [tissue for tissue in tissues if tissue not in own.response_files]
    if missing:
        return [f"there is no *_param-response_label-{missing[0]}_dwimap.txt"]
    if set(own.response_files) - set(tissues):
        return [f"it was of {', '.join(own.response_files)}; asked for is {', '.join(tissues)}"]
    bvals = np.asarray(shell_bvals, dtype=float)
    brightness = None  # of the scan beside given responses, one factor for all tissues
    for tissue in tissues:
        fields = own.response_fields[tissue]
        told = fields.get("ResponseFunction") or {}
        if not np.array_equal(told.get("BValues", ()), bvals):
            shells = ", ".join(f"{bval:g}" for bval in told.get("BValues", ()))
            return [f"its shells were b = {shells or 'not told'}; now they are "
                    f"{', '.join(f'{bval:g}' for bval in bvals)}"]  # fmt: skip
        try:
            found = read_response(own.response_files[tissue], tissue, bvals).coefficients
            asked = read_response(given[tissue], tissue, bvals).coefficients if given else None
        except ResponseError as error:
            return [str(error).rstrip(".")]
        if asked is not None:
            brightness = brightness or _brightness(asked, found, config)
            if not _same(brightness * asked, found):
                return [f"--response {tissue}={given[tissue]} differs from it"]
        if stale := _why_stale(fields, checksums):
            return stale
        if given:
            continue
        if "NumberOfVoxels" not in (fields.get("Settings") or {}):
            return ["it was given by --response, which is left out now"]
        if tissue == "WM" and 2 * (found.shape[1] - 1) != max(config.deconv.lmax, 8):
            return [f"--lmax is {config.deconv.lmax}, its degree is {2 * (found.shape[1] - 1)}"]
    return []


def why_not_model(
    found: OwnModel, model: str, config: RunConfig, checksums: Mapping[str, str]
) -> list[str]:
    """Say why the results of one model are not those that are asked for, but for the response."""
    if not found.images:
        return ["there is none yet"]
    settings = found.fields.get("Settings") or {}
    if not settings:
        return ["the sidecar of *_param-fod_label-WM_dwimap.nii.gz tells no Settings"]
    tissues = settings.get("tissues") or ["WM"]
    parts = {
        **{f"param-fod_label-{tissue}": tissue in found.fod_files for tissue in tissues},
        **{f"param-fraction_label-{tissue}": tissue in found.fraction_files for tissue in tissues},
        **{f"param-{name}": name in found.map_files for name in MAPS},
    }
    missing = [f"*_{name}_dwimap.nii.gz" for name, there in parts.items() if not there]
    if model in SHD_MODELS and found.weights_file is None:
        missing.append("*_desc-weights_model.safetensors")
    if missing:
        return [f"half of it is missing ({', '.join(missing)})"]
    deconv = config.deconv
    asked = AskedFit(
        model=model,
        lmax=deconv.lmax,
        random_seed=deconv.random_seed,
        preset=deconv.shd_preset or "fast",
        n_step=deconv.shd_steps,
        tv_weight=deconv.tv_weight,
        precision=deconv.precision,
        weights_file=deconv.weights,
    )
    return differences(asked, settings) + _why_stale(found.fields, checksums)


def why_not_its_response(
    found: OwnModel, response_fields: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Say whether a model was fitted with other responses than those that lie beside it."""
    for tissue, fitted in found.responses.items():
        told = response_fields.get(tissue, {}).get("ResponseFunction", {}).get("Coefficients")
        if not told or not fitted or not _same(np.asarray(fitted), np.asarray(told)):
            return [f"it was fitted with another response of {tissue} than lies beside it"]
    return []


def why_not_atlas(atlas: Atlas, own: OwnResults) -> list[str]:
    """Say why the regions there are not those of an atlas."""
    if atlas.label not in own.atlases:
        return ["it is not there yet"]
    image_file, _, fields = own.atlases[atlas.label]
    names = [str(uri).rpartition("/")[2] for uri in fields.get("Sources", [])]
    sources = [unquote(name) for name in names]  # of files elsewhere blanks are written as %20
    for file in (atlas.file, atlas.table_file):  # the table names what connectomes join
        if file.name not in sources:
            made = " and ".join(sources[:2]) or "files that are not told"
            return [f"{file.name} is asked for; it was made from {made}"]
        if file.stat().st_mtime > image_file.stat().st_mtime:
            return [f"{file.name} is newer"]
    return []


def _brightness(asked: np.ndarray, found: np.ndarray, config: RunConfig) -> float:
    """Give the factor that given responses were multiplied by, if they were to be at all."""
    factor = float(found[0, 0] / asked[0, 0])
    if not is_matched(config.response):
        return 1.0
    return np.nan if abs(factor - 1) < _SAME_COEFFICIENT else factor  # 1: they were not


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(
        np.abs(one - other).max() <= _SAME_COEFFICIENT * np.abs(other).max()
    )
