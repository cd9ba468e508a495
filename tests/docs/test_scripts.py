"""The scripts that the workflows run."""

import doctest
import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
from docs.pages import ROOT

_CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n## 1.2.0 (2026-11-30)\n\n- New.\n\n## 1.1.0\n\n- Old.\n"
)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f".github/scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_source(folder, version: str, changelog: str = _CHANGELOG) -> None:
    (folder / "shd_bids").mkdir()
    (folder / "shd_bids/__init__.py").write_text(f'"""Doc."""\n\n__version__ = "{version}"\n')
    (folder / "CHANGELOG.md").write_text(changelog)


def test_a_release_gets_the_notes_of_its_own_version(tmp_path, monkeypatch, capsys):
    write_source(tmp_path, "1.2.0")
    monkeypatch.chdir(tmp_path)
    assert load("check_release").main("v1.2.0") == 0
    assert capsys.readouterr().out == "- New.\n"


@pytest.mark.parametrize(
    ("tag", "version", "said"),
    [
        ("v1.3.0", "1.2.0", "expected v1.2.0"),
        ("1.2.0", "1.2.0", "expected v1.2.0"),
        ("v1.2", "1.2", "no heading ## 1.2"),
        ("vUnreleased", "Unreleased", "says nothing"),
    ],
)
def test_a_release_is_refused_if_tag_version_and_changelog_do_not_agree(
    tmp_path, monkeypatch, tag, version, said
):
    write_source(tmp_path, version)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=said):
        load("check_release").main(tag)


def test_the_version_of_the_package_is_where_the_release_looks_for_it():
    from shd_bids import __version__

    source = (ROOT / "shd_bids/__init__.py").read_text(encoding="utf-8")
    assert load("check_release").read_version(source) == __version__


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception", True),
        ("MIT OR AFL-2.1", True),
        ("LGPL-3.0-only", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_licences_that_leave_us_free_are_told_from_others(expression, fits):
    assert load("check_licences").is_allowed(expression) == fits


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ("License-Expression: GPL-3.0-only\nLicense: MIT", "GPL-3.0-only"),
        ("License: LGPL\nClassifier: License :: OSI Approved :: MIT License", "MIT"),
        ("Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "GPL"),
        (
            "Classifier: License :: OSI Approved :: GNU Library or Lesser General Public License "
            "(LGPL)",
            "LGPL",
        ),
        ("License: GNU General Public License v3", "GPL"),
        ("License: BSD 3-Clause", "BSD-3-Clause"),
        ("License: see the file", "see the file"),
        ("Name: silent", "unknown"),
    ],
)
def test_a_licence_is_read_from_whatever_a_package_says_of_it(tmp_path, fields, licence):
    from importlib.metadata import PathDistribution

    folder = tmp_path / "thing-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\n{fields}\n")
    assert load("check_licences").read_licence(PathDistribution(folder)) == licence


def test_all_that_is_needed_at_run_time_fits_the_licence():
    done = subprocess.run(
        [sys.executable, str(ROOT / ".github/scripts/check_licences.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_file_that_a_wheel_lacks_is_named():
    module = load("check_package")
    expected = module.expected_in_wheel(["shd_bids/data/report.css", "tests/a.py"])
    (said,) = module.compare("x.whl", set(), expected)
    assert said == "x.whl lacks shd_bids/data/report.css"


@pytest.mark.parametrize("name", ["check_licences", "check_package"])
def test_the_examples_of_a_script_hold(name):
    tried = doctest.testmod(load(name))
    assert tried.attempted > 0
    assert tried.failed == 0
