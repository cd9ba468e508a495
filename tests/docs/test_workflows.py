"""Workflows parse, may do no more than they need, and run only what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.pages import ROOT, known_targets

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
_ALL = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
_MAKE = re.compile(r"\bmake ((?:[a-z][a-z-]*(?: |$))+)", re.MULTILINE)


def read(file: Path) -> dict[str, Any]:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    workflow["on"] = workflow.pop(True)  # YAML 1.1 takes `on` for yes
    return workflow


def steps_of(file: Path) -> list[dict[str, Any]]:
    return [step for job in read(file)["jobs"].values() for step in job.get("steps", [])]


def test_there_is_a_workflow_for_each_of_what_is_promised():
    names = {file.stem for file in WORKFLOWS}
    assert names == {"tests", "slow", "package", "container", "release", "docs", "audit"}


@_ALL
def test_a_workflow_grants_nothing_as_a_whole_and_each_job_says_what_it_may(file):
    workflow = read(file)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert "permissions" in job, name
        written = {scope for scope, access in job["permissions"].items() if access == "write"}
        assert not written or file.stem in ("release", "docs"), (name, written)


@_ALL
def test_runs_of_a_workflow_do_not_heap_up_and_every_job_has_a_time_limit(file):
    workflow = read(file)
    assert workflow["concurrency"]["group"].startswith(f"{file.stem}-")
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, name


@_ALL
def test_actions_are_fixed_by_their_commit_and_leave_no_password_behind(file):
    for step in steps_of(file):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_one_action_has_one_commit_and_says_which_version_that_is():
    lines = [
        match.groups()
        for file in WORKFLOWS
        for match in re.finditer(r"uses: (\S+/\S+)@(\S+)(.*)", file.read_text(encoding="utf-8"))
    ]
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for _, _, comment in lines)
    assert len({(action, commit) for action, commit, _ in lines}) == len(
        {line[0] for line in lines}
    )


@_ALL
def test_what_a_workflow_runs_exists(file):
    script = "\n".join(step.get("run", "") for step in steps_of(file))
    asked = {target for call in _MAKE.findall(script) for target in call.split()}
    assert asked <= known_targets()
    for path in re.findall(r"\.github/scripts/[\w.]+", script):
        assert (ROOT / path).is_file(), path


@_ALL
def test_a_script_takes_what_others_may_write_from_the_environment_alone(file):
    for step in steps_of(file):
        assert "${{" not in step.get("run", ""), step


def test_the_release_waits_for_tests_and_for_a_package_and_an_image_that_were_tried():
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]
    assert set(jobs["pypi"]["needs"]) == {"package", "test", "container"}
    assert all("check" in jobs[name]["needs"] for name in ("package", "test", "container"))
    assert "pypi" in jobs["github"]["needs"]


def test_slow_tests_run_as_root_because_some_are_skipped_for_others():
    commands = [step.get("run", "") for step in steps_of(ROOT / ".github/workflows/slow.yml")]
    (call,) = [command for command in commands if "make test-slow" in command]
    assert call.startswith("sudo ")
