"""Software and machine are named without importing what is heavy."""

import subprocess
import sys

import pytest

from shd_bids.reports.versions import (
    LIBRARIES,
    machine_facts,
    program_version,
    software_versions,
)


def test_every_library_has_a_version():
    found = software_versions()
    assert set(found) == {"Python", *LIBRARIES}
    assert all(value[0].isdigit() for value in found.values())


def test_versions_are_read_without_importing_torch():
    code = (
        "import sys; from shd_bids.reports.versions import software_versions; "
        "software_versions(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_program_is_told_only_where_it_was_used(tmp_path, monkeypatch):
    program_version.cache_clear()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "fslversion").write_text("6.0.7.9\n")
    monkeypatch.setenv("FSLDIR", str(tmp_path))
    assert "FSL" not in software_versions()
    assert software_versions(["FSL"])["FSL"] == "6.0.7.9"
    program_version.cache_clear()


@pytest.mark.needs_tool("tcksift2")
def test_mrtrix3_says_its_version():
    assert program_version("MRtrix3").startswith("3.")


def test_the_machine_and_the_container_are_named():
    facts = machine_facts({"Type": "docker", "Tag": "shd-bids:1"})
    assert facts["Container"] == "docker shd-bids:1"
    assert len(facts["Operating system"]) > 5
    assert "none" in machine_facts()["Container"]
