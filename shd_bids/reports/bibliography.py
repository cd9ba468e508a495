"""References in BibTeX, read and written for people."""

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"@(\w+)\s*\{\s*([\w:.-]+)\s*,(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"(\w+)\s*=\s*\{(.*?)\}\s*(?:,\s*\n|,?\s*$)", re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """One work.

    Attributes
    ----------
    key
        What the text cites it by.
    fields
        Of the BibTeX entry: ``author``, ``title``, ``year``, ``journal`` or ``booktitle``, ...
    bibtex
        The entry itself.
    """

    key: str
    fields: dict[str, str]
    bibtex: str

    @property
    def families(self) -> list[str]:
        """Family names of the authors."""
        authors = self.fields.get("author", self.key).split(" and ")
        return [author.split(",")[0].strip() for author in authors]

    @property
    def authors_short(self) -> str:
        """One name, two names, or the first name et al."""
        families = self.families
        if len(families) > 2 or families[-1] == "others":
            return f"{families[0]} et al."
        return " and ".join(families)

    @property
    def short(self) -> str:
        """As it stands in parentheses: authors and year."""
        return f"{self.authors_short}, {self.fields.get('year', 'n.d.')}"

    @property
    def in_sentence(self) -> str:
        """As it stands in a sentence: authors, the year in parentheses."""
        return f"{self.authors_short} ({self.fields.get('year', 'n.d.')})"

    @property
    def markdown(self) -> str:
        """As it stands in a list of references."""
        fields = self.fields
        names = fields.get("author", self.key).replace(" and others", " et al.").split(" and ")
        authors = "; ".join(names) if len(names) <= 6 else f"{'; '.join(names[:5])}; et al."
        kinds = ("journal", "booktitle", "school")
        place = next((fields[kind] for kind in kinds if kind in fields), "")
        volume = fields.get("volume", "")
        if "number" in fields and volume:
            volume += f"({fields['number']})"
        pages = fields.get("pages", "").replace("--", "–")  # noqa: RUF001
        details = ", ".join(part for part in (f"*{place}*" if place else "", volume, pages) if part)
        link = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")
        end = ". ".join(part for part in (details, link) if part)
        return f"{authors} ({fields.get('year', 'n.d.')}). {fields.get('title', '')}. {end}".strip()


def read_bibliography(text: str) -> dict[str, Reference]:
    r"""Read BibTeX entries whose closing brace stands alone on its line.

    Parameters
    ----------
    text
        BibTeX.

    Returns
    -------
    dict[str, Reference]
        By citation key.

    Examples
    --------
    >>> entry = "@article{a1,\n  author = {Doe, J. and Roe, R.},\n  year = {2020}\n}"
    >>> read_bibliography(entry)["a1"].short
    'Doe and Roe, 2020'
    """
    references = {}
    for match in _ENTRY.finditer(text):
        fields = {
            name.lower(): " ".join(re.sub(r"[{}]", "", value).split())
            for name, value in _FIELD.findall(match.group(3))
        }
        references[match.group(2)] = Reference(match.group(2), fields, match.group(0))
    return references
