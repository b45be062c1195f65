"""late_probes.csv: what was measured on the final weights of a finished run, with the columns of probes.csv."""

from collections.abc import Sequence
from pathlib import Path

from bnexp.records import PROBE_COLUMNS, ProbeRecord
from bnexp.store.blocks import probe_of
from bnexp.store.cells import csv_text
from bnexp.store.checksums import Checksums, file_checksum
from bnexp.store.files import replace
from bnexp.store.layout import LATE_PROBES
from bnexp.store.reader import RunRecord


def add_late_probes(run: RunRecord, found: Sequence[ProbeRecord]) -> Path:
    """Enter measurements into the file of a run, in place of what the same probes found before; return the file.

    The caller holds the run's lock.

    Raises:
        InputError: what is in the file is not as it was written.
    """
    rows = [row for record in found for row in record.rows()]
    before = run.late_probes
    again = {(row["trial"], probe_of(str(row["probe"]))) for row in rows}
    kept = [(trial, probe_of(name)) not in again for trial, name in zip(before["trial"], before["probe"], strict=True)]
    old = before[kept].to_csv(index=False, header=False, lineterminator="\n", na_rep="nan")
    lines = (old + csv_text(PROBE_COLUMNS, rows, header=False)).splitlines()
    content = "\n".join([",".join(PROBE_COLUMNS), *sorted(lines, key=lambda line: int(line.split(",", 1)[0])), ""])
    path = run.path / LATE_PROBES
    sums = Checksums(run.path)
    try:
        sums.add([file_checksum(LATE_PROBES, content.encode())])
        sums.sync()
    finally:
        sums.close()
    replace(path, content)
    return path
