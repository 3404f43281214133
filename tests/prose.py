"""The English that people read, in plain words: `python -m tests.prose` says where it is not.

`proselint` reads the documentation, and each text of the page, the mails, the admin and the
commands by itself. `.proselintrc.json` says which of its checks are off; the rules below are our
own. Exits with 1 if there is anything to say.
"""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from proselint.checks import __register__ as theirs
from proselint.config import load_from
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckResult, types
from proselint.tools import LintFile

from tests import messages

TOP = Path(__file__).resolve().parent.parent

ACCEPTED = {
    ("oxymorons", "found missing"): "that a file is missing was found when somebody looked",
    ("typography.diacritical_marks", "resume"): "the command that ends a pause",
    ("tenant_backup/troubleshooting.py", "laymen.words", "journal mode"): "for operators only",
    ("tenant_backup/troubleshooting.py", "laymen.words", "last seen"): "for operators only",
    (
        "tenant_backup/templates/tenant_backup/_automation.html",
        "laymen.words",
        "last seen",
    ): "for operators only",
}
"""What is right here although it is found, and why; with its path if it is right only there."""

INSTEAD = {
    "accordingly": "so",
    "additionally": "also",
    "aforementioned": "this",
    "and/or": "or",
    "as well as": "and",
    "at this point in time": "now",
    "commence": "begin",
    "despite the fact that": "although",
    "due to the fact that": "because",
    "e\\.g\\.": "for example",
    "etc\\.": "and so on",
    "execute": "run",
    "facilitate": "help",
    "functionality": "what it does",
    "i\\.e\\.": "that is",
    "in case of": "if",
    "in order to": "to",
    "in the event of": "if",
    "in the event that": "if",
    "invoke": "run",
    "leverage": "use",
    "obtain": "get",
    "please note that": "",
    "prior to": "before",
    "purge": "delete",
    "regarding": "about",
    "subsequent": "later",
    "subsequently": "later",
    "sufficient": "enough",
    "terminate": "end",
    "upon": "on",
    "utilise": "use",
    "utilize": "use",
    "via": "by",
    "whilst": "while",
    "with regard to": "about",
    "with respect to": "about",
}
"""Words of offices and of manuals, and what one says."""

FOR_LAYMEN = [
    "catalog",
    "checkpoint",
    "journal mode",
    "last seen",
    "prun(?:e|es|ed|ing)",
    "Q_CLUSTER_NAME",
    "write-ahead log",
]
"""What no layman says, so no page for tenants."""

LONGEST_SENTENCE = 35
"""Words."""

FOR_TENANTS = (
    "tenant_backup/backups/",
    "tenant_backup/forms.py",
    "tenant_backup/meaning.py",
    "tenant_backup/monitoring/",
    "tenant_backup/outlook.py",
    "tenant_backup/presets.py",
    "tenant_backup/restore/carried_over.py",
    "tenant_backup/retention.py",
    "tenant_backup/templates/tenant_backup/",
    "tenant_backup/troubleshooting.py",
    "tenant_backup/views/",
    "tenant_backup/words",
)
"""Where the texts of their page are."""

UNREAD = "·"
"""What stands for what is no English: names of things, values, addresses."""


def _long_sentences(text, check):
    for sentence in re.finditer(r"[^.!?:;|]+", text):
        if len(words := re.findall(r"[\w·'-]+", sentence[0])) > LONGEST_SENTENCE:
            yield CheckResult(check.path, check.message.format(len(words)), sentence.span(), None)


OURS = (
    Check(
        check_type=types.PreferredForms(items=INSTEAD),
        path="ours.instead",
        message="Write '{}' instead of '{}'.",
    ),
    Check(
        check_type=_long_sentences,
        path="ours.long_sentences",
        message="A sentence of {} words: make two of it.",
    ),
)
LAYMEN = Check(
    check_type=types.Existence(items=tuple(FOR_LAYMEN)),
    path="laymen.words",
    message="A layman does not say '{}'.",
)


@dataclass(frozen=True)
class Piece:
    """A paragraph of the documentation, or a text of the app; and where it begins."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    check: str
    words: str
    message: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.check}: {self.message}"


def of_markdown(path, text):
    """The paragraphs, rows of tables, headings and items of a page, without code and addresses."""
    text = re.sub(r"^( *)```.*?^\1```$", _blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]+`|<[^>\n]+>|\]\([^)\s]+\)", _unread, text)
    line, pieces = 0, [[]]
    for line, words in enumerate(text.splitlines(), 1):
        if not words.strip() or re.match(r"\s*([#|*+-]|\d+\.)", words):
            pieces.append([])
        if words.strip():
            pieces[-1].append((line, words))
        if words.startswith(("#", "|")):
            pieces.append([])
    for piece in filter(None, pieces):
        yield Piece(path, piece[0][0], "\n".join(words for _, words in piece))


def _blank(match):
    return "\n" * match[0].count("\n")


def _unread(match):
    return re.sub(r"\S", UNREAD, match[0])


def of_messages():
    """Each text that is translated: of templates, mails, forms, the admin and errors."""
    for message in messages.in_code():
        if not message.id:
            continue
        places = [(str(Path(path).relative_to(TOP)), line) for path, line in message.locations]
        path, line = next((p for p in places if p[0].startswith(FOR_TENANTS)), places[0])
        for text in message.id if message.pluralizable else (message.id,):
            text = re.sub(r"%\(\w+\)[a-z]|%%|<[^>]+>", UNREAD, text)
            yield Piece(path, line, text)


def of_code(path, source):
    """Each text in the code that is not translated: what commands and checks say."""
    for node in _texts(ast.parse(source)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(part.value if isinstance(part, ast.Constant) else UNREAD for part in parts)
        if len(text.split()) > 2:
            yield Piece(path, node.lineno, re.sub(r"%\(\w+\)[a-z]", UNREAD, text))


def _texts(node):
    """The texts below this node, an f-string as one, without what only describes the code."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    ):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def everything():
    """All English that people read."""
    for path in (TOP / "README.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").glob("*.md"))):
        yield from of_markdown(str(path.relative_to(TOP)), path.read_text())
    yield from of_messages()
    for package in ("management", "checks"):
        for path in sorted((TOP / "tenant_backup" / package).rglob("*.py")):
            yield from of_code(str(path.relative_to(TOP)), path.read_text())


def lint(pieces):
    """What there is to say of these pieces."""
    config = load_from(TOP / ".proselintrc.json")
    config["checks"] |= {"ours": True}
    for piece in pieces:
        checks = {**config["checks"], "laymen": piece.path.startswith(FOR_TENANTS)}
        file = LintFile(piece.path, piece.text)
        for result in file.lint({**config, "checks": checks}):
            found = result.check_result
            start, end = found.span
            words = file.content[start:end].strip()
            key = (found.check_path, words.lower())
            if not {key, (piece.path, *key)} & ACCEPTED.keys():
                line = piece.line + result.pos[0] - 1
                yield Finding(piece.path, line, found.check_path, words, found.message)


def main():
    findings = dict.fromkeys(lint(everything()))
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)


CheckRegistry().register_many((*theirs, *OURS, LAYMEN))


if __name__ == "__main__":
    main()
