"""The reference page of the command line is its own help, and its documents are what verbs print."""

import json
import os
import re
from pathlib import Path

import cli_reference
import pytest
from commands import call

from toolcache.cli.verbs import HOMES


def test_the_page_is_what_the_commands_say() -> None:
    """docs/reference/cli.md is made of the commands' own help; run tests/cli_reference.py after a change."""
    assert cli_reference.PAGE.read_text("utf-8") == cli_reference.page()


def test_every_verb_is_on_the_page() -> None:
    """Each verb has its section, and each of its documents its fields."""
    assert cli_reference.DOCUMENTS.keys() == HOMES.keys()
    headings = re.findall(r"^## ([a-z]+)$", cli_reference.PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(HOMES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["stats"],
        ["watch"],
        ["savings"],
        ["top"],
        ["top", "--by", "bytes"],
        ["keys"],
        ["get", "key"],
        ["set", "key", "1"],
        ["delete", "key"],
        ["invalidate", "--tag", "a"],
        ["clear", "--yes"],
        ["cleanup"],
        ["analyze"],
        ["diagnose"],
        ["stale"],
        ["alerts"],
        ["health"],
        ["doctor"],
        ["backup", "x.backup"],
        ["restore", "x.backup", "--yes"],
        ["warm", "values.jsonl"],
        ["bench", "--seconds", "0.05"],
        ["demo", "--list"],
        ["completion", "zsh"],
    ],
    ids=" ".join,
)
def test_documents_have_the_fields_that_the_page_tells(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--json`` a verb prints one document, with the fields that the page tells at its top."""
    for name in list(os.environ):
        if name.startswith(("TOOLCACHE_", "REDIS_", "USE_REDIS", "AI_CACHE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    files = ["--backend", "file", "--dir", str(tmp_path / "files")]
    (tmp_path / "values.jsonl").write_text('{"key": "a", "value": 1}\n')
    call(capsys, *files, "set", "key", "1")
    call(capsys, *files, "backup", "x.backup")
    ran = call(capsys, *files, *arguments, "--json")
    assert ran.code in {0, 1}
    told = cli_reference.DOCUMENTS["stats" if arguments[0] == "watch" else arguments[0]]
    outer = re.sub(r"\([^)]*\)", "", told)
    assert set(re.findall(r"`(\w+)`", outer)) <= json.loads(ran.out).keys()
