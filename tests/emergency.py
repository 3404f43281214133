"""What two pages show is what the commands print: `python -m tests.emergency` renews it.

They are `docs/emergency.md` and `docs/rows.md`. Each block that begins with `$ python manage.py` is
run on the example project, in the order of the page, in which things go wrong as the page tells it.
What differs from day to day, such as times, is no difference.
"""

import getpass
import re
import sqlite3
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.example import TOP, Project

DATA = "/srv/mysite/var"
"""Where the pages have the data of the example project."""

USER = "ops"
"""Who runs the commands on the pages."""

BLOCK = re.compile(
    r"^(?P<indent> *)```console\n *\$ python manage\.py (?P<command>.+)\n"
    r"(?P<output>(?:.*\n)*?) *```$",
    re.MULTILINE,
)

DIFFERS = {
    r"\d{4}-\d\d-\d\d": "DAY",
    r"\d\d:\d\d(:\d\d)?": "TIME",
    r"\d{8}T\d{6}Z(-\d)?": "MOMENT",
    r"\d+(\.\d+)? ?[KMG]B": "SIZE",
    r"\d+ (second|minute|hour|day)s?": "AGE",
    r"\d+ \(.+?\)+(?=[.,;\s]|$)": "PROCESS",
    r" {2,}": "  ",  # a wider or narrower column
}

YES = {"Type yes or no: ": "yes"}
ANSWERS = {
    "restorebackup acme 1": {"(acme): ": "acme"},
    "restorerows acme 1 business_contract --with-related": YES,
    "restorerows acme --undo 1": YES,
}
"""What somebody types, by the end of the question."""


def commands(page):
    """What the page shows: each command with its output."""
    return [
        (block["command"], _without(block["indent"], block["output"]))
        for block in BLOCK.finditer(page)
    ]


def _without(indent, text):
    return re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def of_no_day(output):
    """The output without what differs from day to day."""
    for pattern, word in DIFFERS.items():
        output = re.sub(pattern, word, output)
    return output


class Story:
    """What a page tells, in the example project."""

    page: Path

    def __init__(self, folder):
        self.project = Project(folder)
        self.project.manage("setup_example", "--scale", "0.02")
        self.situations = {}
        """What is the case while a command runs."""

    def change(self, *statements):
        with closing(sqlite3.connect(self.project.database("acme"))) as database, database:
            for statement in statements:
                database.execute(statement)

    def run(self, command):
        """What the command says to somebody at a terminal, in the situation that the page tells."""
        with ExitStack() as stack:
            if command in self.situations:
                stack.enter_context(self.situations[command]())
            answers = ANSWERS.get(command, {})
            done = self.project.python(
                "manage.py",
                *command.split(),
                answer="".join(f"{text}\n" for text in answers.values()),
            )
        said = done.stdout + done.stderr
        for question, answer in answers.items():
            assert question in said, said
            said = said.replace(question, f"{question}{answer}\n")
        said = said.replace(f"by {getpass.getuser()}:", f"by {USER}:")
        return said.replace(str(self.project.data), DATA)


class Emergency(Story):
    """The example project on its bad day."""

    page = TOP / "docs" / "emergency.md"

    def __init__(self, folder):
        super().__init__(folder)
        self.project.manage("runbackup", "--label", "before the update")
        self.change("DELETE FROM business_ticket WHERE id > 100")
        self.situations = {
            "restorebackup acme --latest --no-input": self._in_use,
            "syncbackups": self._control_database_lost,
        }

    @contextmanager
    def _in_use(self):
        with closing(sqlite3.connect(self.project.database("acme"))) as database:
            database.execute("BEGIN")
            database.execute("SELECT count(*) FROM business_ticket").fetchone()
            yield

    @contextmanager
    def _control_database_lost(self):
        for file in self.project.data.glob("control.sqlite3*"):
            file.unlink()
        # It brings the tenants back, which the example has in the control database, and migrates.
        self.project.manage("setup_example", "--scale", "0.02")
        yield


class RowsLost(Story):
    """The example project after all contracts were deleted; and somebody goes on working."""

    page = TOP / "docs" / "rows.md"

    def __init__(self, folder):
        super().__init__(folder)
        self.project.manage("runbackup", "acme")
        # As the button of the example does it.
        self.change(
            "UPDATE business_inventoryitem SET contract_id = NULL",
            "DELETE FROM business_ticket",
            "DELETE FROM business_contract",
        )
        self.project.manage("runbackup", "acme")
        self.change("DELETE FROM business_inventoryitem WHERE id = 440", NEW_PARTNER)


NEW_PARTNER = """
    INSERT INTO business_partner (number, name, contact, email, street, city, since, notes)
    VALUES ('P-2026', 'Since then', '', '', '', '', '2026-11-26', '')
"""

STORIES = (Emergency, RowsLost)


def main():
    for story in STORIES:
        with tempfile.TemporaryDirectory() as folder:
            renew(story(Path(folder)))


def renew(story):
    def renewed(block):
        said = story.run(block["command"])
        said = re.sub(r"\b\d+ \(\S*python[^)]*\)", "4711 (gunicorn)", said)
        shown = _without(block["indent"], block["output"])
        if of_no_day(said) == of_no_day(shown):
            return block[0]
        lines = [
            "```console",
            f"$ python manage.py {block['command']}",
            *said.splitlines(),
            "```",
        ]
        return "\n".join(f"{block['indent']}{line}" if line else "" for line in lines)

    story.page.write_text(BLOCK.sub(renewed, story.page.read_text()))


if __name__ == "__main__":
    main()
