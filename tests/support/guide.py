"""The Python programs of README.md and docs/guide.

``python tests/support/guide.py FOLDER`` writes each of them to a file there, for type checkers.
"""

import re
import sys
from pathlib import Path

TREE = Path(__file__).parents[2]
GUIDE = [TREE / "README.md", *sorted((TREE / "docs/guide").glob("*.md"))]


def programs_of(page: Path) -> dict[str, str]:
    """The Python programs of a page, by heading and number in the page."""
    found: dict[str, str] = {}
    for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        heading = section.partition("\n")[0].removeprefix("# ")
        for program in re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
            found[f"{page.stem}: {heading}, {len(found) + 1}"] = program
    return found


PROGRAMS = {name: text for page in GUIDE for name, text in programs_of(page).items()}


def write_programs(folder: Path) -> None:
    """Write each program to a file in the folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PROGRAMS.items():
        (folder / f"{re.sub(r'[^a-z0-9]+', '_', name.lower())}.py").write_text(text)


if __name__ == "__main__":
    write_programs(Path(sys.argv[1]))
