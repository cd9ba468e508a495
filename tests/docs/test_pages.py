"""The pages show only what the program has, and all that it has."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs.pages import (
    PAGES,
    ROOT,
    SHOWN,
    flags_in_code,
    known_targets,
    make_targets,
    modules_run,
    program_calls,
)

from shd_bids.cli.parser import build_parser

_BY_NAME = pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.stem)
#: Flags of other programs that begin a span of code, by page and by column of its tables.
_COMPARED = ROOT / "docs/coming_from.md"


def known_flags() -> set[str]:
    return {flag for action in build_parser()._actions for flag in action.option_strings}


def text_of(page: Path) -> str:
    """Give a page; of one that compares programs, our side of its tables alone."""
    text = page.read_text(encoding="utf-8")
    if page == _COMPARED:
        text = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    return text


@_BY_NAME
def test_every_command_of_the_pages_is_understood_by_the_parser(page):
    for arguments in program_calls(text_of(page)):
        if arguments[0] in ("--version", "--help"):
            continue
        try:
            build_parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{page.name} shows `shd-bids {' '.join(arguments)}`, which is refused.")


def test_there_are_commands_to_understand():
    assert sum(len(list(program_calls(text_of(page)))) for page in SHOWN) > 20


def test_a_command_with_a_flag_that_does_not_exist_is_found_also_through_a_container():
    call = "docker run --gpus all \\\n  shd-bids:1.0 /data /out participant --lmx 8 && ls"
    text = f"```\nmake x\n{call}\n```"
    (arguments,) = program_calls(text)
    assert arguments == ["/data", "/out", "participant", "--lmx", "8"]
    with pytest.raises(SystemExit):
        build_parser().parse_args(arguments)


@_BY_NAME
def test_every_flag_that_the_pages_name_exists(page):
    unknown = set(flags_in_code(text_of(page))) - known_flags()
    assert not unknown, f"{page.name} names {', '.join(sorted(unknown))}."


def test_every_flag_is_mentioned_by_hand_on_some_page():
    text = "\n".join(page.read_text(encoding="utf-8") for page in SHOWN)
    silent = {
        "/".join(action.option_strings)
        for action in build_parser()._actions
        if action.option_strings
        and not any(
            re.search(rf"(?<![\w-]){flag}(?![\w-])", text) for flag in action.option_strings
        )
    }
    assert not silent, f"No page says what {', '.join(sorted(silent))} is for."


def test_every_page_is_in_the_contents():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = {
        line
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL)
        for line in tree.splitlines()
        if line and not line.startswith(":")
    }
    assert listed == {page.stem for page in PAGES} - {"index"}


@_BY_NAME
def test_every_link_to_a_file_of_the_repository_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`]*`", "", text))
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not lost


@_BY_NAME
def test_every_module_that_the_pages_run_exists(page):
    for name in modules_run(page.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(name), f"{page.name} runs {name}."


@_BY_NAME
def test_every_target_that_the_pages_ask_make_for_exists(page):
    assert make_targets(page.read_text(encoding="utf-8")) <= known_targets()


def test_the_page_of_flags_has_every_flag_and_choice(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/extensions"))
    command_line = importlib.import_module("command_line")
    monkeypatch.delitem(sys.modules, "command_line")
    written = command_line.describe_parser(build_parser())
    for action in build_parser()._actions:
        for flag in action.option_strings:
            assert re.search(rf"```{{option}} .*{flag}\b", written), flag
        for choice in action.choices or ():
            assert str(choice) in written


def test_the_page_of_flags_has_its_place_for_them(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs/extensions"))
    command_line = importlib.import_module("command_line")
    monkeypatch.delitem(sys.modules, "command_line")
    assert command_line.PLACE in (ROOT / f"docs/{command_line.PAGE}.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_pages_are_built_without_a_warning_and_ask_nothing_of_other_servers(tmp_path):
    pytest.importorskip("sphinx", reason="needs the extra docs (make docs)")
    made = shutil.ignore_patterns("_build", "generated", "__pycache__")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=made)
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "docs", "html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?://', text), page.name
