"""probes.csv and late_probes.csv: what was measured inside the networks goes wherever its record goes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bnexp.plan import run_name, trials
from bnexp.records import MEASURES, EpochRecord, Outcome, ProbeRecord
from bnexp.runner.posthoc_probes import add_late_probes
from bnexp.store.reader import RunRecord
from bnexp.store.writer import RunWriter
from tests.helpers import experiment, no_batches

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


def restored(run: RunRecord) -> RunRecord:
    with_writer = RunWriter.restore(run.path, run.config, trials(run.config), {"device": "cpu"})
    with_writer.close()
    return RunRecord(run.path)


def test_a_table_has_a_row_for_every_value_in_the_order_of_steps(writer: RunWriter) -> None:
    table = finish(writer).probes
    assert table.columns.tolist() == ["trial", "epoch", "step", "layer", "probe", "value"]
    assert list(zip(table["trial"], table["step"], strict=True))[::2] == [(t, s) for s in (0, 2, 4, 6) for t in NUMBERS]
    assert table["layer"].tolist() == ["output", ""] * 8
    assert table["value"].iloc[[0, 2, 3]].tolist() == [0.5, 1.5, -float("inf")]
    assert table["value"].isna().sum() == 4


def test_without_probes_there_is_no_file_and_no_row(tmp_path: Path) -> None:
    config = experiment()
    RunWriter.create(tmp_path / run_name(config), config, trials(config), {"device": "cpu"}).close()
    run = RunRecord(tmp_path / run_name(config))
    assert run.probes.empty
    assert run.probes.columns.tolist() == ["trial", "epoch", "step", "layer", "probe", "value"]
    assert not (run.path / "probes.csv").exists()


@pytest.mark.parametrize("at", [1, 7, 16])
@pytest.mark.parametrize("how", ["changed", "lost", "twice"])
def test_a_row_that_is_not_as_it_was_written_is_named(writer: RunWriter, at: int, how: str) -> None:
    run = finish(writer)
    lines = (run.path / "probes.csv").read_text().splitlines()
    trial, _, step, *_ = lines[at].split(",")
    lines[at : at + 1] = {"changed": [f"{lines[at].rpartition(',')[0]},77.0"], "lost": []}.get(how, [lines[at]] * 2)
    (run.path / "probes.csv").write_text("\n".join([*lines, ""]))
    (warning,) = RunRecord(run.path).warnings
    record = 6 if int(step) else 0
    assert warning == f"{run.path}/probes.csv: changed or lost since it was written: trial {trial} from step {record}"
    assert restored(run).unfinished == {int(trial)}


@pytest.mark.parametrize("row", ["0,99,9999,,sharpness,1.0", "77,1,6,,sharpness,1.0", "nonsense"])
def test_rows_that_nobody_wrote_are_not_shown_and_removed(writer: RunWriter, row: str) -> None:
    run, before = finish(writer), (writer.path / "probes.csv").read_bytes()
    (run.path / "probes.csv").write_bytes(before + row.encode() + b"\n")
    assert len(RunRecord(run.path).probes) == 16
    assert restored(run).complete  # nothing has to be trained again
    assert (run.path / "probes.csv").read_bytes() == before


def test_rows_of_a_record_that_was_never_written_are_dropped_when_the_run_goes_on(writer: RunWriter) -> None:
    record(writer, 0, probed(0))
    writer.close()
    with (writer.path / "probes.csv").open("a") as file:
        file.write("0,1,2,output,rank,0.5\n1,1,2,outp")  # a power failure
    run = RunRecord(writer.path)
    assert run.warnings == ()
    assert run.probes["step"].unique().tolist() == [0]
    assert restored(run).probes["step"].unique().tolist() == [0]
    assert len((run.path / "probes.csv").read_text().splitlines()) == 5


def test_what_is_made_again_takes_the_place_of_what_was_there(writer: RunWriter) -> None:
    record(writer, 0, probed(0))
    record(writer, 6, probed(6, value=2.0))
    writer.go_back({0: 0, 1: 0})
    assert RunRecord(writer.path).probes["value"].tolist()[::2] == [0.5, 1.5, 2.0, 3.0]
    record(writer, 6, probed(6, value=3.0))
    assert RunRecord(writer.path).probes["value"].tolist()[::2] == [0.5, 1.5, 3.0, 4.0]
    assert RunRecord(writer.path).warnings == ()


# What is measured afterwards


def test_late_probes_replace_what_the_same_probe_found_before(writer: RunWriter) -> None:
    run = finish(writer)
    for value, *names in ((0.5, "sharpness.times_rate"), (0.5, "slice[0 1]", "slice[0 2]"), (9.0, "slice[5 5]")):
        add_late_probes(RunRecord(run.path), [probed(12, value, name) for name in names])
    late = RunRecord(run.path).late_probes
    assert late["trial"].is_monotonic_increasing
    assert late[late["probe"] != "slope"].groupby("probe")["value"].apply(list).to_dict() == {
        "sharpness.times_rate": [0.5, 1.5],
        "slice[5 5]": [9.0, 10.0],
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


def test_late_probes_that_are_damaged_are_named_and_left_out_when_the_run_is_restored(writer: RunWriter) -> None:
    run = finish(writer)
    path = add_late_probes(run, [probed(12)])
    path.write_text(path.read_text().replace("0.5", "0.6"))
    damaged = RunRecord(run.path)
    assert damaged.warnings == (f"{path}: changed or lost since it was written: trial 0 from step 12",)
    assert damaged.late_probes["value"].tolist()[0] == 0.6
    again = restored(run)
    assert (again.complete, again.warnings, again.late_probes["trial"].unique().tolist()) == (True, (), [1])
    path.unlink()
    assert RunRecord(run.path).warnings == (f"{path}: missing",)
