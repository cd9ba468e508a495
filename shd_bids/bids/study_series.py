"""One series of an output dataset and the files that were made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .names import SHORT_NAMES, BidsName, entity_stem

NamedFiles = Mapping[tuple[str, str], Sequence[tuple[Path, dict[str, str]]]]

_SOURCE_KEYS = tuple(SHORT_NAMES.values())
# What lies in the series' own space only, and so tells which space that is.
_OWN_PARAMS = ("response", "fod", "peaks")


@dataclass(frozen=True)
class StudySeries:
    """One series with all files that were made of it.

    Attributes
    ----------
    entities
        Of the source, by their short names.
    space
        That of the series itself, ``orig`` or what the input called it.
    files
        Names and entities, by suffix and extension.
    """

    entities: dict[str, str]
    space: str
    files: NamedFiles

    @property
    def stem(self) -> str:
        """Start of every output's name, as in ``sub-01_ses-test_acq-x``."""
        return entity_stem(self.entities)

    def find(self, suffix: str, extension: str, **labels: str | None) -> list[Path]:
        """Find files by suffix, extension and entities.

        Parameters
        ----------
        suffix, extension
            As in ``dwimap`` and ``.nii.gz``.
        **labels
            By the entities' short names; None asks for a name without that entity.

        Returns
        -------
        list[Path]
            In the order of their names.
        """
        wanted = labels.items()
        return [
            file
            for file, entities in self.files.get((suffix, extension), ())
            if all(entities.get(key) == label for key, label in wanted)
        ]

    def labels(self, key: str, suffix: str, extension: str, **labels: str | None) -> list[str]:
        """List the labels that an entity has in such files, each once."""
        wanted = labels.items()
        found = [
            entities[key]
            for _, entities in self.files.get((suffix, extension), ())
            if key in entities and all(entities.get(k) == label for k, label in wanted)
        ]
        return list(dict.fromkeys(found))

    @property
    def models(self) -> list[str]:
        """Labels of the models that were fitted, as in file names."""
        return self.labels("model", "dwimap", ".nii.gz", param="fod", label="WM")


def group_files(files: Iterable[Path]) -> list[StudySeries]:
    """Put files of one source together; what has no BIDS name is passed over.

    Parameters
    ----------
    files
        Of one participant.

    Returns
    -------
    list[StudySeries]
        In the order of the files.
    """
    grouped: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], list]] = {}
    for file in files:
        name = BidsName.parse(file)
        if name is None or "sub" not in name.entities:
            continue
        source = tuple((key, name.entities[key]) for key in _SOURCE_KEYS if key in name.entities)
        kinds = grouped.setdefault(source, {})
        kinds.setdefault((name.suffix, name.extension), []).append((file, name.entities))
    return [StudySeries(dict(key), _own_space(kinds), kinds) for key, kinds in grouped.items()]


def _own_space(kinds: NamedFiles) -> str:
    """Find the space of the series among those that maps were brought to."""
    spaces = []
    for (suffix, _), found in kinds.items():
        for _, entities in found:
            if "space" in entities:
                own = suffix == "dwi" or entities.get("param") in _OWN_PARAMS
                spaces.append((not own, entities["space"] != "orig", entities["space"]))
    return min(spaces)[-1] if spaces else "orig"
