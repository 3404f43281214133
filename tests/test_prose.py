"""The check of plain English finds what it is for, wherever people read it."""

import pytest

from tests import prose
from tests.prose import Piece


def found(text, path="docs/page.md"):
    return {finding.check for finding in prose.lint([Piece(path, 1, text)])}


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("This is very important.", "weasel_words.very"),
        ("Choose the the newest backup.", "lexical_illusions"),
        ("At the end of the day, a backup helps.", "cliches.misc.garner"),
        ("Utilize a backup.", "ours.instead"),
        ("Stop the server prior to the restore.", "ours.instead"),
        ("It backs up, " + "and then " * 30 + "it ends.", "ours.long_sentences"),
    ],
)
def test_a_bad_sentence_is_found(text, check):
    assert check in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "Choose the newest backup that still has the lost data.",
        'It says "done", and automation can be resumed: resume it.',
        "Backups were found missing.",
        "A sentence of few words, " + ", ".join(map(str, range(30))) + ". It is the same. " * 3,
    ],
)
def test_a_plain_one_is_not(text):
    assert not found(text)


@pytest.mark.parametrize(
    "module",
    [
        "backups/folder.py",
        "meaning.py",
        "monitoring/words.py",
        "presets.py",
        "restore/carried_over.py",
        "retention.py",
    ],
)
def test_reasons_and_mails_are_read_by_tenants_too(module):
    assert "laymen.words" in found("The catalog was set back.", f"tenant_backup/{module}")


@pytest.mark.parametrize("word", ["journal mode", "write-ahead log", "pruned", "Pruning"])
def test_words_that_no_layman_says_are_found_where_tenants_read(word):
    text = f"It is about the {word} of this."
    assert "laymen.words" in found(text, "tenant_backup/templates/tenant_backup/_help.html")
    assert not found(text, "docs/automation.md")


def test_what_only_operators_see_of_a_page_can_be_accepted_there(monkeypatch):
    path = "tenant_backup/templates/tenant_backup/_help.html"
    monkeypatch.setitem(prose.ACCEPTED, (path, "laymen.words", "journal mode"), "operators only")
    assert not found("The journal mode.", path)
    assert found("The journal mode.", "tenant_backup/forms.py")


def test_a_page_is_read_without_its_code_and_with_its_lines():
    page = (
        "# Stop\n\nStop it with `very utilize` now\nand via [this](via.md).\n\n"
        "```sh\nvery\n```\n\n| a | b |\n|---|---|\n| very | c |\n"
    )
    findings = prose.lint(prose.of_markdown("docs/x.md", page))
    assert [str(finding).split(": ")[:2] for finding in findings] == [
        ["docs/x.md:4", "ours.instead"],
        ["docs/x.md:12", "weasel_words.very"],
    ]


def test_what_commands_say_is_read_and_comments_are_not():
    code = (
        '"""A very good module."""\n'
        "def say(name):\n"
        '    """Very good, too."""\n'
        '    print(f"It is {name} very bad.", "--very")\n'
    )
    [finding] = prose.lint(prose.of_code("x.py", code))
    assert (finding.line, finding.check) == (4, "weasel_words.very")


def test_everything_that_people_read_is_read():
    texts = {}
    for piece in prose.everything():
        texts.setdefault(piece.path, []).append(piece.text)
    for path in (
        "README.md",
        "CHANGELOG.md",
        "docs/emergency.md",
        "tenant_backup/templates/tenant_backup/_help.html",
        "tenant_backup/templates/tenant_backup/mail/tenant.txt",
        "tenant_backup/forms.py",
        "tenant_backup/management/commands/restorebackup.py",
        "tenant_backup/checks/cluster.py",
        "tenant_backup/sqlite/users.py",
    ):
        assert texts.get(path), path
    said = texts["tenant_backup/management/commands/restorebackup.py"]
    assert "the id of the tenant" in said


def test_it_ends_with_1_if_there_is_anything_to_say(monkeypatch, capsys):
    monkeypatch.setattr(prose, "everything", lambda: [Piece("docs/x.md", 7, "It is very good.")])
    with pytest.raises(SystemExit) as ended:
        prose.main()
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("docs/x.md:7: weasel_words.very: ")
    monkeypatch.setattr(prose, "everything", lambda: [Piece("docs/x.md", 7, "It is good.")])
    with pytest.raises(SystemExit) as ended:
        prose.main()
    assert ended.value.code == 0
