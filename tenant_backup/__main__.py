"""`python -m tenant_backup` prints the page for the emergency, even if Django does not start."""

import sys
from importlib.resources import files
from importlib.resources.abc import Traversable

PAGE = "docs/emergency.md"


def emergency() -> str:
    """The page: from the package where it is installed, from beside it in a checkout."""
    package: Traversable = files("tenant_backup")
    page = package.joinpath(PAGE)
    if not page.is_file():
        page = package.joinpath("..", PAGE)
    return page.read_text(encoding="utf-8")


if __name__ == "__main__":
    # A terminal in a rescue system may not know every letter of the page.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.stdout.write(emergency())
