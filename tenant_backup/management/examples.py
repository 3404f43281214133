"""What `--help` says of a command: its arguments, and at its end two examples."""

from django.core.management.base import DjangoHelpFormatter

Examples = tuple[tuple[str, str], tuple[str, str]]
"""Two examples: the arguments, and what they do."""


class HelpFormatter(DjangoHelpFormatter):
    """Django's, which also leaves indented lines as they are: examples, to be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(
            indent + line if line.startswith(" ") else fill(line, width, indent)
            for line in text.splitlines()
        )


def epilog(subcommand: str, examples: Examples) -> str:
    """The examples as the end of the help."""
    lines = ["Examples:"]
    for arguments, meaning in examples:
        lines += [f"  python manage.py {subcommand} {arguments}".rstrip(), f"      {meaning}"]
    return "\n".join(lines)
