"""What the structural image serves for in one series: spaces to bring maps to, atlases to bring.

What was asked for and cannot be had is written down; the run goes on without it, and says at its
end that it did.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from shd_bids.anat.atlas import Atlas, find_atlas
from shd_bids.anat.template import (
    Template,
    find_head,
    find_template,
    is_file_template,
    parse_template,
)
from shd_bids.bids.own import OwnAnatomy
from shd_bids.bids.preprocessed import PreprocessedSeries
from shd_bids.bids.preprocessed_files import PreprocessedAnatomy
from shd_bids.config import AnatConfig
from shd_bids.errors import AnatomyError

from .sources import Series

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutputSpace:
    """A space that maps are brought to.

    ``label`` is what ``space`` says in names. The grid is that of ``grid_file`` if there is a
    ``resolution``, TemplateFlow's number of it; else the field of view of ``grid_file`` is filled
    with voxels as large as the series'. Without file, it is the T1w image.
    """

    label: str
    grid_file: Path | None = None
    resolution: int | None = None

    @property
    def in_template(self) -> bool:
        """Whether the way there leads through the T1w image to a template."""
        return self.grid_file is not None


@dataclass(frozen=True)
class AnatPlan:
    """The structural image of one series, and what it is used for.

    ``template`` is what the T1w image is brought to; of a preprocessed series, what its own
    transforms lead to. ``undelivered`` says what was asked for and cannot be had.
    """

    t1w_file: Path | None = None  # None if it is passed over, or taken over as ``given``
    template: Template | None = None
    given: PreprocessedAnatomy | None = None
    spaces: tuple[OutputSpace, ...] = ()
    atlases: tuple[Atlas, ...] = ()
    undelivered: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[Path, ...]:
        """Files of templates and atlases."""
        grids = [space.grid_file for space in self.spaces if space.grid_file is not None]
        templates = [self.template.t1w_file] if self.template is not None else []
        return (*templates, *grids, *(atlas.file for atlas in self.atlases))


def plan_anat(series: Series, anat: AnatConfig) -> AnatPlan:
    """Find the template, the spaces and the atlases of a series.

    Parameters
    ----------
    series
        Raw or preprocessed.
    anat
        Settings of the stage.

    Returns
    -------
    AnatPlan
        All its files exist.
    """
    given, own = None, None
    if isinstance(series, PreprocessedSeries):
        given = series.anatomy
        own = series.own.anatomy if series.own else None
        t1w_file = own.t1w_file if own and given is None else None
    else:
        t1w_file = series.t1w_file
    if anat.skip_anat:
        given, own, t1w_file = None, None, None
    if own is not None and given is None:
        template, reason = _find_own_template(anat, own)
    else:
        template, reason = _find_template(anat, t1w_file, given)
    if reason and t1w_file and own is None:
        LOGGER.warning("%s The brain mask of the T1w image is taken from the series.", reason)
    spaces: list[OutputSpace] = []
    atlases: list[Atlas] = []
    undelivered: list[str] = []
    for asked in dict.fromkeys(anat.output_spaces):
        try:
            if asked not in ("dwi", series.space_label):
                spaces.append(_find_space(asked, series, anat, t1w_file, template, reason))
        except AnatomyError as error:
            undelivered.append(f"--output-spaces {asked}: {error}")
    for asked in dict.fromkeys(anat.atlases):
        try:
            atlases.append(_find_atlas(asked, series, t1w_file, template, reason, atlases))
        except AnatomyError as error:
            undelivered.append(str(error))
    for text in undelivered:
        LOGGER.warning("%s: %s The run goes on without it.", series.source_stem, text)
    return AnatPlan(t1w_file, template, given, tuple(spaces), tuple(atlases), tuple(undelivered))


def _find_template(
    anat: AnatConfig, t1w_file: Path | None, given: PreprocessedAnatomy | None
) -> tuple[Template | None, str]:
    """Give the template, or why there is none."""
    name = anat.anat_template
    wanted = _wants_template(anat)
    if given is not None:
        if given.template is None or not (given.to_template_file and given.from_template_file):
            return None, (
                "The anatomy of the input lacks the transforms to and from a template; expected "
                "anat/*_from-*_to-MNI*_mode-image_xfm and one back."
            )
        if not wanted:
            return None, ""
        if not is_file_template(name) and parse_template(name)[0] != given.template:
            name = given.template
    elif t1w_file is None:
        return None, "There is no T1w image that could be brought to it, or --skip-anat was given."
    try:
        template = find_template(name, download=True)
    except AnatomyError as error:
        return None, str(error)
    if given is not None and template.name != given.template:
        return None, (
            f"The anatomy of the input was brought to {given.template}, but --anat-template names "
            f"{template.name}."
        )
    return template, ""


def _find_own_template(anat: AnatConfig, own: OwnAnatomy) -> tuple[Template | None, str]:
    """Give the template that an earlier run brought the T1w image to, or why there is none."""
    name, transforms = anat.anat_template, {"t1w_to_template", "template_to_t1w"}
    if not _wants_template(anat):
        return None, ""
    if own.template is None or not transforms <= own.transforms.keys():
        return None, (
            "The earlier results lack the transforms between the T1w image and a template. Leave "
            "--derivatives out to have them made."
        )
    if not is_file_template(name) and parse_template(name)[0] != own.template:
        name = own.template
    try:
        template = find_template(name, download=True)
    except AnatomyError as error:
        return None, str(error)
    if template.name != own.template:
        return None, (
            f"The T1w image of the earlier results was brought to {own.template}, but "
            f"--anat-template names {template.name}."
        )
    return template, ""


def _wants_template(anat: AnatConfig) -> bool:
    """Tell whether anything has to be brought to or from a template."""
    return bool(anat.atlases) or any(space not in ("dwi", "T1w") for space in anat.output_spaces)


def _find_space(
    asked: str,
    series: Series,
    anat: AnatConfig,
    t1w_file: Path | None,
    template: Template | None,
    reason: str,
) -> OutputSpace:
    if asked == "T1w" and isinstance(series, PreprocessedSeries) and t1w_file is None:
        raise AnatomyError(
            f"a preprocessed series is not moved; it lies in {series.space_label}. Leave T1w out."
        )
    if asked == "T1w":
        if t1w_file is None:
            raise AnatomyError("there is no T1w image, or --skip-anat was given.")
        return OutputSpace("T1w")
    if template is None:
        raise AnatomyError(reason)
    name, numbers = parse_template(asked)
    cohort = {} if is_file_template(anat.anat_template) else parse_template(anat.anat_template)[1]
    known = template.name + (f":cohort-{cohort['cohort']}" if "cohort" in cohort else "")
    if name != template.name or numbers.get("cohort") != cohort.get("cohort"):
        raise AnatomyError(
            f"the T1w image is brought to {known} only. Give {known}, or another template with "
            "--anat-template."
        )
    if "res" not in numbers:
        return OutputSpace(name, template.t1w_file)
    grid_file = find_head(
        asked, flag="--output-spaces", instead=f"--output-spaces {known}", download=True
    )
    return OutputSpace(name, grid_file, numbers["res"])


def _find_atlas(
    asked: str,
    series: Series,
    t1w_file: Path | None,
    template: Template | None,
    reason: str,
    others: list[Atlas],
) -> Atlas:
    try:
        atlas = find_atlas(asked, template=template.name if template else None, download=True)
    except AnatomyError as error:
        if template is None and reason:
            raise AnatomyError(f"{error} {reason}") from error
        raise
    reachable = [series.space_label]
    reachable += ["T1w"] if t1w_file else []
    reachable += [template.name] if template else []
    if atlas.space not in reachable:
        instead = "" if atlas.space == "T1w" else f", or --anat-template {atlas.space}"
        raise AnatomyError(
            f"--atlases {asked} lies in {atlas.space}, by its name; the series can be reached from "
            f"{', '.join(reachable)} only. Give an atlas in one of these{instead}. "
            f"{reason}".rstrip()
        )
    if atlas.label in [other.label for other in others]:
        raise AnatomyError(
            f"--atlases {asked}: another atlas is called {atlas.label}, too. Rename a file."
        )
    return atlas
