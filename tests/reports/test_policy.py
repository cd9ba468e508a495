"""What the page may run: the scripts of this package, to the letter, and nothing else."""

import base64
import hashlib
from importlib.resources import files

from shd_bids.reports.policy import content_policy

OURS = (files("shd_bids.data") / "report.js").read_text(encoding="utf-8")


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_a_script_of_this_package_is_allowed_by_the_hash_of_its_exact_text():
    policy = content_policy(f"<p></p><script>\n{OURS}</script>")
    assert f"script-src 'sha256-{digest(chr(10) + OURS)}'" in policy


def test_a_script_that_came_from_elsewhere_is_not_allowed():
    policy = content_policy(f"<script>alert(1)</script><script>{OURS}alert(2)</script>")
    assert "script-src 'none'" in policy


def test_data_in_a_script_element_need_no_permission():
    page = f'<script type="application/json">{{"a": 1}}</script><script>{OURS}</script>'
    assert content_policy(page).count("sha256-") == 1


def test_nothing_is_loaded_from_elsewhere_or_evaluated():
    policy = content_policy(f"<script>{OURS}</script>")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy
