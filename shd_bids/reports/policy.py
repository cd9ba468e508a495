"""What the page may do: a content security policy that allows no more than it needs."""

import base64
import hashlib
import re
from importlib.resources import files

#: Where a page leaves room for its policy, ahead of all that the policy is to rule.
POLICY_MARK = "<!-- policy -->"

_SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


def content_policy(page: str) -> str:
    """State what a page may load and run: its figures, its style and the scripts of this package.

    A script that is in the page and not in the package is not allowed, wherever it came from.

    Parameters
    ----------
    page
        With all its scripts.

    Returns
    -------
    str
        For the header ``Content-Security-Policy``.

    Examples
    --------
    >>> content_policy("<script>alert(1)</script>")
    "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; \
script-src 'none'; base-uri 'none'; form-action 'none'"
    """
    known = {script.strip() for script in _shipped()}
    hashes = [
        f"'sha256-{_digest(script)}'" for script in _SCRIPT.findall(page) if script.strip() in known
    ]
    allowed = " ".join(dict.fromkeys(hashes)) or "'none'"
    return "; ".join(
        [
            "default-src 'none'",
            # A page opened from the disk has no origin that every browser takes for 'self'.
            "img-src 'self' file: data:",
            "style-src 'unsafe-inline'",
            f"script-src {allowed}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def bring_policy(page: str) -> str:
    """Write into a finished page what it may do, in the place of ``POLICY_MARK``.

    Examples
    --------
    >>> bring_policy(f"<head>{POLICY_MARK}</head>").startswith("<head><meta http-equiv=")
    True
    """
    policy = f'<meta http-equiv="Content-Security-Policy" content="{content_policy(page)}"/>'
    return page.replace(POLICY_MARK, policy, 1)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def _shipped() -> list[str]:
    """Read the scripts that are data of this package."""
    folder = files("shd_bids.data")
    return [
        file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".js")
    ]
