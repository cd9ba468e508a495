"""What no module of ours does: run a shell, run text, or load what can run code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import shd_workflows

import shd_bids

_PACKAGES = [Path(package.__file__).parent for package in (shd_bids, shd_workflows)]
_SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
           "asyncio.create_subprocess_shell", "CommandLine"}  # fmt: skip
_TEXT_IS_RUN = {"eval", "exec", "compile", "__import__", "np.genfromtxt", "numexpr.evaluate"}
_LOADERS = {"torch.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
            "joblib.load", "pd.read_pickle", "marshal.loads", "marshal.load"}  # fmt: skip
_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "xml.sax"}
_PREDICTABLE = {"tempfile.mktemp", "os.tempnam"}
_ALLOWED = {
    "cli/places.py: a fixed place in /tmp",  # it looks where libraries would write
    "plugin.py: import pickle",  # what a step's process sends to the run that started it
    "task.py: import pickle",
    "slurm.py: from pickle",
    "node_job.py: import pickle",  # the same by files in the work directory, whose owner is checked
}


def _broken_rules(source: str) -> Iterator[tuple[int, str]]:
    """List lines that break a rule, with what they do."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in (alias.name for alias in node.names):
                if name in _MODULES:
                    yield node.lineno, f"import {name}"
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module in _MODULES or {name.rpartition(".")[2] for name in names} & _SHELLS:
                yield node.lineno, f"from {node.module}"
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in _SHELLS | _TEXT_IS_RUN | _LOADERS | _PREDICTABLE:
                yield node.lineno, name
            for keyword in node.keywords:
                is_on = not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
                if keyword.arg in ("shell", "allow_pickle") and is_on:
                    yield node.lineno, f"{name}({keyword.arg}=...)"
        elif isinstance(node, ast.Constant) and node.value == "/tmp":
            yield node.lineno, "a fixed place in /tmp"


@pytest.mark.parametrize("package", _PACKAGES, ids=lambda folder: folder.name)
def test_no_module_runs_a_shell_or_loads_what_can_run_code(package):
    files = sorted(package.rglob("*.py"))
    assert len(files) > 20
    broken = [
        f"{file.relative_to(package)}:{line}: {what}"
        for file in files
        for line, what in _broken_rules(file.read_text(encoding="utf-8"))
        if f"{file.relative_to(package)}: {what}" not in _ALLOWED
    ]
    assert broken == []


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run(name, shell=True)",
        "import os\nos.system(name)",
        "eval(text)",
        "import pickle",
        "from pickle import loads",
        "torch.load(file, weights_only=True)",
        "np.load(file, allow_pickle=True)",
        "np.load(file, allow_pickle=chosen)",
        "from nipype.interfaces.base import CommandLine",
        "import tempfile\ntempfile.mktemp()",
        "Path('/tmp') / 'mine'",
    ],
)
def test_each_rule_is_seen_to_be_broken(source):
    assert list(_broken_rules(source))


def test_what_is_safe_breaks_no_rule():
    safe = "subprocess.run([name], shell=False)\nnetwork.eval()\nyaml.safe_load(text)"
    assert not list(_broken_rules(safe))
