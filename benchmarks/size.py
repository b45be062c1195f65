"""How large the code base is: modules and lines of the package, and lines of its tests. `make size` prints it."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def count(folder: str) -> tuple[int, int]:
    """Return the Python files below a folder, and their lines."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return len(files), sum(len(file.read_text().splitlines()) for file in files)


def main() -> None:
    """Print a line for the package, for each of its folders, and for the tests."""
    parts = sorted(f"bnexp/{path.name}" for path in (ROOT / "bnexp").iterdir() if path.is_dir())
    for folder in ("bnexp", *parts, "tests"):
        modules, lines = count(folder)
        if modules:
            print(f"{folder:<18} {modules:>4} modules {lines:>7,} lines")


if __name__ == "__main__":
    main()
