"""probes.csv in blocks: each is proved by the record that it came with, and goes wherever that record goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnexp.plan import run_name, trials
from bnexp.records import MEASURES, EpochRecord, Outcome, ProbeRecord
from bnexp.runner.posthoc_probes import add_late_probes
from bnexp.store.cells import block_checksum, blocks_between, blocks_of, step_of
from bnexp.store.reader import DamagedRunError, RunRecord
from bnexp.store.writer import RunWriter
from tests.helpers import experiment, no_batches, rewrite

NUMBERS = (0, 1)


def probed(step: int, value: float = 0.5, probe: str = "rank") -> ProbeRecord:
    """Two values for each of two trials."""
    found = {("output", probe): (value, value + 1), ("", "slope"): (float("nan"), -float("inf"))}
    return ProbeRecord(NUMBERS, -(-step // 6), step, found)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    config = experiment(probes=["rank"], grid={"train.lr": [0.1, 1.0]})
    made = RunWriter.create(tmp_path / run_name(config), config, trials(config), {"device": "cpu"})
    yield made
    made.close()


def record(writer: RunWriter, step: int, *probes: ProbeRecord) -> None:
    measures = dict.fromkeys(MEASURES, (0.5, 0.6))
    writer.append(EpochRecord(NUMBERS, -(-step // 6), step, measures, (0.1, 0.1), 1.0, *no_batches(2)), probes)


def finish(writer: RunWriter) -> RunRecord:
    """A run of three records, with probes in between."""
    record(writer, 0, probed(0))
    record(writer, 6, probed(2), probed(4), probed(6))
    record(writer, 12)
    writer.end(Outcome(number, "completed") for number in NUMBERS)
    writer.arrange()
    writer.close()
    return RunRecord(writer.path)


def test_a_table_has_a_row_for_every_value_read_trial_by_trial_and_written_step_by_step(writer: RunWriter) -> None:
    table = finish(writer).probes
    assert table.columns.tolist() == ["trial", "epoch", "step", "layer", "probe", "value"]
    assert list(zip(table["trial"], table["step"], strict=True))[::2] == [(t, s) for t in NUMBERS for s in (0, 2, 4, 6)]
    with (writer.path / "probes.csv").open() as file:
        assert [line.split(",")[:3:2] for line in file][1::2] == [
            [str(t), str(s)] for s in (0, 2, 4, 6) for t in NUMBERS
        ]
    assert table["layer"].tolist() == ["output", ""] * 8
    assert table["value"].iloc[[0, 8, 9]].tolist() == [0.5, 1.5, -float("inf")]
    assert table["value"].isna().sum() == 4


def test_without_probes_there_is_no_file_and_no_row(tmp_path: Path) -> None:
    config = experiment()
    RunWriter.create(tmp_path / run_name(config), config, trials(config), {"device": "cpu"}).close()
    run = RunRecord(tmp_path / run_name(config))
    assert run.probes.empty
    assert run.probes.columns.tolist() == ["trial", "epoch", "step", "layer", "probe", "value"]
    assert not (run.path / "probes.csv").exists()


@pytest.mark.parametrize(
    ("how", "at"),
    # A row that only changes places with one of another trial says the same as before.
    [
        *((how, at) for how in ("changed", "lost", "twice") for at in range(1, 17)),
        *(("moved", at) for at in range(1, 17, 2)),
    ],
)
def test_a_row_that_is_not_as_it_was_written_is_seen(writer: RunWriter, at: int, how: str) -> None:
    file = finish(writer).path / "probes.csv"
    lines = file.read_bytes().splitlines(keepends=True)
    trial = lines[at][:1].decode()
    if how == "moved":
        lines.insert(at % 16 + 1, lines.pop(at))  # within a block, or into another one's place
    else:
        lines[at : at + 1] = {"changed": [lines[at].replace(b"6", b"7").replace(b"n,", b"m,")[:-2] + b"9\n"]}.get(
            how, [] if how == "lost" else [lines[at]] * 2
        )
    file.write_bytes(b"".join(lines))
    named = f"records of trials? .*{trial}" if how != "moved" else "records of trial"
    with pytest.raises(DamagedRunError, match=rf"probes\.csv: missing or not as they were written: {named}"):
        RunRecord(file.parent).check()


def test_a_missing_table_is_seen(writer: RunWriter) -> None:
    run = finish(writer)
    (run.path / "probes.csv").unlink()
    with pytest.raises(DamagedRunError, match=r"probes\.csv: missing$"):
        run.check()


@pytest.mark.parametrize("row", ["0,99,9999,,sharpness,1.0", "77,1,6,,sharpness,1.0", "nonsense"])
def test_rows_that_nobody_wrote_are_seen_and_removed(writer: RunWriter, row: str) -> None:
    run, before = finish(writer), (writer.path / "probes.csv").read_bytes()
    (run.path / "probes.csv").write_bytes(before + row.encode() + b"\n")
    with pytest.raises(DamagedRunError, match=r"probes\.csv: has rows that nobody wrote$"):
        RunRecord(run.path).check()
    RunWriter.restore(run.path, run.config, trials(run.config), {"device": "cpu"}).close()
    assert (run.path / "probes.csv").read_bytes() == before
    assert RunRecord(run.path).complete  # nothing had to be trained again


def test_rows_of_a_record_that_was_never_written_are_dropped_when_the_run_goes_on(writer: RunWriter) -> None:
    record(writer, 0, probed(0))
    writer.close()
    with (writer.path / "probes.csv").open("a") as file:
        file.write("0,1,2,output,rank,0.5\n1,1,2,outp")  # a power failure
    RunRecord(writer.path).check()
    config = RunRecord(writer.path).config
    RunWriter.restore(writer.path, config, trials(config), {"device": "cpu"}).close()
    assert RunRecord(writer.path).probes["step"].unique().tolist() == [0]


def test_what_is_made_again_takes_the_place_of_what_was_there(writer: RunWriter) -> None:
    record(writer, 0, probed(0))
    record(writer, 6, probed(6, value=2.0))
    writer.go_back({0: 0, 1: 0})
    assert RunRecord(writer.path).probes["value"].tolist()[2:8:2] == [2.0, 1.5, 3.0]
    record(writer, 6, probed(6, value=3.0))
    table = RunRecord(writer.path).probes
    assert table["value"].iloc[[0, 2, 4, 6]].tolist() == [0.5, 3.0, 1.5, 4.0]
    assert len(table) == 8


@given(moments=st.lists(st.integers(0, 30), unique=True).map(sorted), steps=st.sets(st.integers(0, 30)).map(sorted))
def test_every_row_belongs_to_the_first_record_that_is_no_earlier(moments: list[int], steps: list[int]) -> None:
    lines = [line for step in moments for line in blocks_of([probed(step)])[1]]
    found = list(blocks_between(lines, steps))
    assert len(found) == len(steps)
    for before, step, block in zip([-1, *steps], steps, found, strict=False):
        assert {step_of(line) for line in block} == {moment for moment in moments if before < moment <= step}
    assert [line for block in found for line in block] == lines[: sum(map(len, found))]


def test_a_block_is_no_other_ones_and_an_empty_one_is_not_its_record() -> None:
    one, other = (b"0,1,2,,rank,1",), (b"0,1,2,,rank,2",)
    assert len({block_checksum(block, sum_) for block in (one, other, ()) for sum_ in (0, 7)} | {0, 7}) == 8


# What is measured afterwards


def test_late_probes_replace_what_the_same_probe_found_before(writer: RunWriter) -> None:
    run = finish(writer)
    add_late_probes(run, [probed(12, probe="sharpness.times_rate")])
    add_late_probes(
        RunRecord(run.path), [probed(12, probe="landscape_slice[0 1]"), probed(12, probe="landscape_slice[0 2]")]
    )
    add_late_probes(RunRecord(run.path), [probed(12, value=9.0, probe="landscape_slice[5 5]")])
    late = RunRecord(run.path).late_probes
    assert late["trial"].is_monotonic_increasing
    assert late[late["probe"] != "slope"].groupby("probe")["value"].apply(list).to_dict() == {
        "sharpness.times_rate": [0.5, 1.5],
        "landscape_slice[5 5]": [9.0, 10.0],
    }
    assert len(RunRecord(run.path).probes) == 16 + len(late)


def test_what_is_found_afterwards_stands_in_for_what_the_probe_found_at_that_moment(writer: RunWriter) -> None:
    run = finish(writer)
    add_late_probes(run, [probed(6, value=7.0, probe="rank.share")])
    table = RunRecord(run.path).probes
    ranks = table[table["probe"].str.startswith("rank") & (table["trial"] == 0)]
    assert ranks["step"].tolist() == [0, 2, 4, 6]
    assert ranks["probe"].tolist()[-2:] == ["rank", "rank.share"]
    assert ranks["value"].iloc[-1] == 7.0


def test_late_probes_that_are_damaged_are_named(writer: RunWriter) -> None:
    run = finish(writer)
    path = add_late_probes(run, [probed(12)])
    content = path.read_text()
    path.write_text(content.replace("0.5", "0.6"))
    with pytest.raises(
        DamagedRunError, match=r"late_probes\.csv: not as it was written; remove it and take the probes again"
    ):
        _ = RunRecord(run.path).probes
    rewrite(path, content)
    assert not RunRecord(run.path).late_probes.empty
