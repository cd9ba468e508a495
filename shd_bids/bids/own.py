"""What an earlier run of shd-bids left of one series, beside the preprocessed series itself.

Names alone decide what belongs together; whether it fits what is asked for now is decided where
that is planned.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shd_bids.bids.generators import generators
from shd_bids.bids.json_files import read_json_object
from shd_bids.bids.names import BidsName, NamedSeries, derivative_path
from shd_bids.errors import BidsDataError

LOGGER = logging.getLogger(__name__)

_NAME = "shd-bids"
# Kinds of the fields that are read again, wherever they stand; numbers: axes of an array.
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("Model", "Settings", "ResponseFunction", "Training", "SourceChecksums"), dict),
    **dict.fromkeys(("Methods", "Description"), str),
    **dict.fromkeys(("Sources", "tissues"), list),
    "BValues": 1,
    "Coefficients": 2,
}
_OF_OUTPUTS = {"model", "param", "track", "bundle", "seg", "res", "label", "desc"}


@dataclass(frozen=True)
class OwnModel:
    """Results of one model.

    ``fields`` is the sidecar of the fODF, ``responses`` are the coefficients of each tissue that
    it was fitted with, ``training`` is the course of the network's.
    """

    fod_files: dict[str, Path] = field(default_factory=dict)
    fraction_files: dict[str, Path] = field(default_factory=dict)
    map_files: dict[str, Path] = field(default_factory=dict)
    weights_file: Path | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    responses: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> tuple[Path, ...]:
        """All images."""
        return tuple(
            file
            for files in (self.fod_files, self.fraction_files, self.map_files)
            for file in files.values()
        )


@dataclass(frozen=True)
class OwnAnatomy:
    """What was found out with the help of a T1w image.

    ``tissue_dwi_file`` and ``mask_dwi_file`` lie on the grid of the series, ``t1w_file`` and
    ``mask_file`` on their own. ``transforms`` are those that exist, by the names that the graph
    has for them (``t1w_to_dwi`` and the like), ``template`` what two of them lead to.
    """

    tissue_dwi_file: Path
    mask_dwi_file: Path | None
    t1w_file: Path | None
    mask_file: Path | None
    transforms: dict[str, Path]
    template: str | None
    methods: str

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is there."""
        images = (self.tissue_dwi_file, self.mask_dwi_file, self.t1w_file, self.mask_file)
        return tuple(file for file in (*images, *self.transforms.values()) if file)


@dataclass(frozen=True)
class OwnResults:
    """Results of one series by kind; what is not there is None or empty."""

    dataset_dir: Path
    version: str
    mask_file: Path | None = None
    b0_file: Path | None = None
    qc_file: Path | None = None
    confounds_file: Path | None = None
    other_files: tuple[Path, ...] = ()  # of preprocessing, which nothing later needs
    anatomy: OwnAnatomy | None = None
    atlases: dict[str, tuple[Path, Path, dict[str, Any]]] = field(default_factory=dict)
    response_files: dict[str, Path] = field(default_factory=dict)
    given_response_files: dict[str, Path] = field(default_factory=dict)  # by --response
    models: dict[str, OwnModel] = field(default_factory=dict)
    figures: dict[str, Path] = field(default_factory=dict)

    @property
    def response_fields(self) -> dict[str, dict[str, Any]]:
        """What the sidecars of the responses say."""
        return {tissue: read_fields(file) for tissue, file in self.response_files.items()}

    def relative(self, file: Path) -> str:
        """Give a path in the dataset, as the graph names its outputs."""
        return file.absolute().relative_to(self.dataset_dir.absolute()).as_posix()


def own_version(description: Mapping[str, Any]) -> str | None:
    """Give the version of shd-bids that made a dataset; None where it was another program.

    Examples
    --------
    >>> own_version({"GeneratedBy": [{"Name": "shd-bids", "Version": "0.1.0"}]})
    '0.1.0'
    >>> own_version({"GeneratedBy": [{"Name": "qsiprep"}]}) is None
    True
    """
    for generator in generators(description)[:1]:  # those of its input follow
        name, _, version = generator.partition(" ")
        if name == _NAME:
            return version or "unknown"
    return None


def find_own(dataset_dir: Path, series: NamedSeries, space: str, *, version: str) -> OwnResults:
    """Find what was made of one series.

    Parameters
    ----------
    dataset_dir
        Root of the derivatives.
    series
        Its entities.
    space
        Label of its space in the names of outputs.
    version
        That made the dataset.

    Returns
    -------
    OwnResults
        What is there.
    """
    entities = series.entities

    def path(suffix: str, extension: str, **extra: str) -> Path:
        name = derivative_path(entities, suffix=suffix, extension=extension, **extra)
        return dataset_dir / name

    def there(file: Path) -> Path | None:
        return file if file.is_file() else None

    folder = path("dwi", ".nii.gz").parent
    models: dict[str, OwnModel] = defaultdict(OwnModel)
    responses: dict[str | None, dict[str, Path]] = {None: {}, "given": {}}
    atlases: dict[str, tuple[Path, Path, dict[str, Any]]] = {}
    for file, extra, name in _of_series(folder, entities | {"space": space}):
        param, label = extra.get("param"), extra.get("label")
        kind = name.suffix, name.extension
        if param == "response" and name.extension == ".txt" and extra.get("desc") in responses:
            responses[extra.get("desc")][label or ""] = file
        elif set(extra) == {"seg"} and kind == ("dseg", ".nii.gz"):
            if table := there(path("dseg", ".tsv", space=space, seg=extra["seg"])):
                atlases[extra["seg"]] = file, table, read_fields(file)
        elif "model" in extra and kind == ("dwimap", ".nii.gz") and "track" not in extra:
            model = models[extra["model"]]
            by_label = {"fod": model.fod_files, "fraction": model.fraction_files}
            if param in by_label and label:
                by_label[param][label] = file
            elif param:
                model.map_files[param] = file
    own_models = {label: _complete(model, path, label, space) for label, model in models.items()}
    files_of_preproc = [
        path("dwi", extension, space=space, desc="preproc")
        for extension in (".nii.gz", ".bval", ".bvec")
    ]
    files_of_preproc.append(path("qc", ".json", space=space, desc="slice"))
    return OwnResults(
        dataset_dir=dataset_dir,
        version=version,
        mask_file=there(path("mask", ".nii.gz", space=space, desc="brain")),
        b0_file=there(path("dwiref", ".nii.gz", space=space)),
        qc_file=there(path("qc", ".tsv", desc="image")),
        confounds_file=there(path("timeseries", ".tsv", desc="confounds")),
        other_files=tuple(file for file in files_of_preproc if file.is_file()),
        anatomy=_find_anatomy(dataset_dir, entities, space),
        atlases=atlases,
        response_files=responses[None],
        given_response_files=responses["given"],
        models=own_models,
        figures=_find_figures(dataset_dir, entities),
    )


def read_fields(file: Path) -> dict[str, Any]:
    """Read the sidecar of a file; a missing or damaged one, or a damaged field, tells nothing."""
    sidecar = file.with_name(file.name.partition(".")[0] + ".json")
    try:
        fields = read_json_object(sidecar)
    except BidsDataError as error:
        LOGGER.debug("%s tells nothing of its file: %s", sidecar, error)
        return {}
    return _as_we_write(fields)


def _as_we_write(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the fields that are of the kind that we write, those inside them too."""
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        kind = _KINDS.get(key)
        if kind is dict and isinstance(value, dict):
            kept[key] = _as_we_write(value)
        elif (
            kind is None
            or (kind in (str, list) and isinstance(value, kind))
            or (kind in (1, 2) and _are_numbers(value, kind))
        ):
            kept[key] = value
    return kept


def _are_numbers(value: Any, n_axis: int) -> bool:
    if n_axis == 0:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, list) or not all(_are_numbers(one, n_axis - 1) for one in value):
        return False
    return n_axis == 1 or len({len(row) for row in value}) == 1


def _of_series(
    folder: Path, entities: Mapping[str, str]
) -> Iterator[tuple[Path, dict[str, str], BidsName]]:
    """Give the files that have all entities of a series, with those that they have besides."""
    for file in sorted(folder.glob(f"sub-{entities['sub']}_*")):
        name = BidsName.parse(file)
        if name is None or not entities.items() <= name.entities.items():
            continue
        rest = {key: label for key, label in name.entities.items() if key not in entities}
        if set(rest) <= _OF_OUTPUTS:  # else it is of another series, or in another space
            yield file, rest, name


def _complete(model: OwnModel, path: Any, label: str, space: str) -> OwnModel:
    """Add what stands beside a model's images."""
    weights = path("model", ".safetensors", space=space, model=label, desc="weights")
    fod_file = model.fod_files.get("WM")
    return OwnModel(
        model.fod_files,
        model.fraction_files,
        model.map_files,
        weights if weights.is_file() else None,
        read_fields(fod_file) if fod_file else {},
        {
            tissue: read_fields(file).get("ResponseFunction", {}).get("Coefficients")
            for tissue, file in model.fod_files.items()
        },
        read_fields(weights).get("Training", {}) if weights.is_file() else {},
    )


def _find_anatomy(dataset_dir: Path, entities: Mapping[str, str], space: str) -> OwnAnatomy | None:
    def path(suffix: str, extension: str, **extra: str) -> Path:
        return dataset_dir / derivative_path(
            entities, datatype="anat", suffix=suffix, extension=extension, **extra
        )

    tissue_file = path("probseg", ".nii.gz", space=space)
    if not tissue_file.is_file():
        return None
    ends = {"t1w_to_dwi": ("T1w", space), "dwi_to_t1w": (space, "T1w")}
    transforms = {
        what: path("xfm", ".txt", **{"from": start, "to": end, "mode": "image"})
        for what, (start, end) in ends.items()
    }
    fields = read_fields(tissue_file)
    sources = [
        Path(uri).name.removesuffix("_T1w.nii.gz") for uri in map(str, fields.get("Sources", []))
    ]
    t1w_file, mask_file, template = None, None, None
    folders = dict.fromkeys([tissue_file.parent, dataset_dir / f"sub-{entities['sub']}" / "anat"])
    for folder in folders:  # the session's own, then one for all
        images = sorted(folder.glob(f"sub-{entities['sub']}_*desc-preproc_T1w.nii.gz"))
        if not images:
            continue
        t1w_file = min(images, key=lambda file: file.name.partition("_desc-")[0] not in sources)
        stem = t1w_file.name.removesuffix("_desc-preproc_T1w.nii.gz")
        mask_file = folder / f"{stem}_desc-brain_mask.nii.gz"
        for file in sorted(folder.glob(f"{stem}_from-T1w_to-*_mode-image_xfm.h5")):
            template = BidsName.parse(file).entities["to"]  # type: ignore[union-attr]  # matched
            back = folder / f"{stem}_from-{template}_to-T1w_mode-image_xfm.h5"
            transforms |= {"t1w_to_template": file, "template_to_t1w": back}
        break
    mask_dwi_file = path("mask", ".nii.gz", space=space, desc="T1w")
    return OwnAnatomy(
        tissue_file,
        mask_dwi_file if mask_dwi_file.is_file() else None,
        t1w_file,
        mask_file if mask_file and mask_file.is_file() else None,
        {what: file for what, file in transforms.items() if file.is_file()},
        template,
        str(fields.get("Methods", "")),
    )


def _find_figures(dataset_dir: Path, entities: Mapping[str, str]) -> dict[str, Path]:
    """Find the figures of a series by what they show; those of the whole participant are not."""
    folder = dataset_dir / f"sub-{entities['sub']}" / "figures"
    return {
        rest["desc"]: file
        for file, rest, _ in _of_series(folder, entities)
        if set(rest) == {"desc"}
    }
