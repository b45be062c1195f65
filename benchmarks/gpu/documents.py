"""Write what a GPU has shown into the documents: `python -m benchmarks.gpu.documents [FOLDER]`.

Each document has a marked block, which is made from the JSON of `make gpu` and from nothing else.
"""

import sys
from pathlib import Path

from benchmarks.gpu.parts import BENCHMARKS, RESULTS
from benchmarks.gpu.records import Record, read, section

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("results")
"""JSON that is kept with the code."""
BEGIN = "<!-- gpu: begin; made by `make gpu-documents`, so edit nothing here -->"
END = "<!-- gpu: end -->"
NOTHING = {
    BENCHMARKS: "Nothing has been run on a GPU yet, so there are no figures.",
    RESULTS: "Nothing has been run on a GPU yet, so the full forms of `cifar_vgg`, `cifar_resnet_depth`, `fixup` and "
    "`batch_size`\nhave no entry.",
}
"""What a document says where no part of it has been run."""


def rewritten(text: str, page: str, records: dict[str, Record]) -> str:
    """Return the text of a document with its marked block rewritten.

    Raises:
        ValueError: it has no such block, or there are records that say nothing of a GPU.
    """
    if rehearsed := [name for name, record in records.items() if record.rehearsed]:
        raise ValueError(f"rehearsed without a GPU, which no document shows: {', '.join(rehearsed)}")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: the marks {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{section(records, page) or NOTHING[page]}\n\n{END}{after}"


def main(folder: Path = FOLDER, root: Path = ROOT) -> None:
    """Rewrite the marked blocks of all documents."""
    records = read(folder)
    # All of them first: a document that can't be made leaves the others as they are.
    made = {page: rewritten((root / page).read_text(encoding="utf-8"), page, records) for page in NOTHING}
    for page, text in made.items():
        (root / page).write_text(text, encoding="utf-8")
        print(f"{page}: {section(records, page).count('### ')} parts")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
