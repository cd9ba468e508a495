"""The look of our pages, which the study's page shares with the participant's."""

import base64
import hashlib
from importlib.resources import files

_DATA = "shd_bids.data"


def page_style() -> str:
    """Give the style sheet of the participant's page."""
    return data_text("report.css")


def data_text(name: str) -> str:
    """Read a style sheet or script that ships with the program."""
    return (files(_DATA) / name).read_text(encoding="utf-8")


def content_hash(text: str) -> str:
    """Name a script or style sheet by its content, as a content security policy does.

    Examples
    --------
    >>> content_hash("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
