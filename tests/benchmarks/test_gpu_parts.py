"""`make gpu` without a GPU: every part in tiny, what becomes of failures, and the documents that are made from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bnexp
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import documents, parts, sweep
from benchmarks.gpu.figures import Figure, table
from benchmarks.gpu.measure import MEASUREMENTS, figures
from benchmarks.gpu.parts import PARTS, Found, Part, data_overrides, read_checks, read_run, read_tests
from benchmarks.gpu.records import Record, read

TARGETS = {
    "sweep": ["≥ 100×"],
    "at_once": ["≤ 4×"],
    "kernel_share": ["≥ 80 %"] * 2,
    "fused": ["≤ 0.95×"] * 2,
    "waiting": ["≤ 0"] * 3,
    "convolutions": ["≥ 0.95×", "≥ 5×"] * 2,
    "together": ["", "", "", "≥ 1.5×", "", ""],
}
"""Targets of the figures of each measurement."""
SLOW = {"waiting", "convolutions", "together"}
MACHINE = {
    "versions": {"bnexp": "0.3.0", "python": "3.12.3", "torch": "2.11.0", "numpy": "2.5.2"}
    | {"cuda": "13.0", "cudnn": "9.19.0", "driver": "580.159.04"},
    "cores": 16,
    "devices": [{"device": "cuda:0", "name": "NVIDIA H200", "bytes": 139 * 2**30, "free": 0}],
}
RECORD = Record(
    "sweep",
    "python -m benchmarks.gpu.measure sweep",
    False,
    "done",
    "",
    "2026-12-01T10:00:00+00:00",
    41.3,
    MACHINE,
    [Figure("faster by", 103.4, "×", "3 rounds", at_least=100, detail="0.2 over 21 s")],
)


def part(name: str, code: str, data: str = "") -> Part:
    """A part that runs a line of Python and reads nothing of it."""
    return Part(name, name.title(), ("-c", code), ("-c", code), lambda printed: Found(), data=data)


@pytest.fixture(autouse=True)
def runs_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Undo what a rehearsal says of the folder of runs, which other tests would take over."""
    monkeypatch.setenv("BNEXP_RUNS", str(tmp_path / "runs"))


def test_every_measurement_is_a_part() -> None:
    assert set(MEASUREMENTS) == set(TARGETS) == {each.words[2] for each in PARTS if "measure" in each.words[1]}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TARGETS])
def test_measurements_run_and_name_what_is_to_be_reached(name: str, gpu: torch.device) -> None:
    found = list(figures(name, gpu, rehearse=True))
    assert [each.target for each in found] == TARGETS[name]
    assert all(each.value > 0 or name in ("kernel_share", "waiting") for each in found)
    assert all(each.n[0] in "12" for each in found)


def test_calls_that_wait_are_counted_in_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SYNCHRONIZING", ("aten::_log_softmax",))  # once an update
    first, *_ = sweep.whole_epoch(torch.device("cpu"), images=384, seeds=1)
    assert (first.value, first.n, first.reached) == (3, "3 updates", False)


def test_a_figure_is_shown_beside_what_it_is_to_reach() -> None:
    few, many = Figure("a", 0.947, "×", "3 rounds", at_least=0.95), Figure("b", 3.2, "×", "3 rounds", at_most=4)
    accuracy = Figure("c", 82.61, " %", "3 seeds", published=83, detail="lr 0.1")
    assert table([few, many, accuracy]).splitlines()[2:] == [
        "| a | 0.95× | ≥ 0.95× | no | 3 rounds |  |",
        "| b | 3.20× | ≤ 4× | yes | 3 rounds |  |",
        "| c | 82.6 % | near 83 % | - | 3 seeds | lr 0.1 |",
    ]


@pytest.mark.parametrize(
    ("last", "bad", "n"),
    [
        ("79 passed, 6000 deselected in 61.10s (0:01:01)", 0, "79 tests"),
        ("== 2 failed, 76 passed, 1 error in 9.1s ==", 3, "79 tests"),
        ("18 skipped in 9.1s", 18, "18 tests"),
    ],
)
def test_tests_are_read_from_the_last_line_of_pytest(last: str, bad: int, n: str) -> None:
    (figure,) = read_tests(f"....\nFAILED tests/a.py::b - assert 1 in 2.0s\n{last}\n").figures
    assert (figure.value, figure.n, figure.reached) == (bad, n, bad == 0)


def test_the_worst_check_of_each_precision_is_read() -> None:
    checks = [("fp32", "batch norm", 0.2), ("fp32", "product", 1.5), ("bf16", "product", 0.4), ("bf16", "graph", None)]
    rows = [{"device": "cuda:0", "precision": p, "check": name, "share": share} for p, name, share in checks]
    first, second = read_checks(json.dumps({"checks": rows})).figures
    assert (first.value, first.detail, first.n, first.reached) == (150, "product", "2 checks", False)
    assert (second.what[:12], second.n, second.reached) == ("cuda:0, bf16", "1 check", True)


def test_a_run_is_read_with_each_arm_at_its_best_beside_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BNEXP_RUNS", str(tmp_path))
    settings = {"name": "small", "data": {"name": "digits", "train_size": 64, "val_size": 32, "test_size": 32}}
    settings |= {
        "model": {"depth": 1, "width": 4},
        "train": {"steps": 2, "batch_size": 32},
        "seeds": 2,
        "arms": ["none", "before"],
    }
    run = bnexp.run(settings | {"grid": {"train.lr": [0.1, 0.5]}})
    best = run.compare().best
    found = read_run("small", {"before": 83.0}, "")
    assert [each.value for each in found.figures] == [100 * mean for mean in best["mean"]]
    assert [(each.target, each.n) for each in found.figures] == [("", "2 seeds"), ("near 83 %", "2 seeds")]
    assert found.figures[0].detail.startswith(f"lr {best['train.lr'][0]}; 95 %: ")
    assert found.table.count("\n") == 2 + 4  # a row for each arm and rate, and nothing below
    assert found.left == ""
    monkeypatch.setattr("bnexp.store.reader.RunRecord.finished", 3)
    assert read_run("small", {}, "").left == "5 of 8 trials are left"


def test_a_part_that_fails_stops_no_other_and_its_text_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = part("broken", "import sys; print('before'); sys.exit('no such kernel')")
    monkeypatch.setattr(command, "PARTS", (broken, part("fine", "print(1)")))
    assert command.main(["--rehearse", "--results", str(tmp_path)]) == 1
    first, second = read(tmp_path)["broken"], read(tmp_path)["fine"]
    assert (first.outcome, first.reason) == ("failed", "Exit code 1.\nno such kernel")
    assert (second.outcome, second.reason, second.rehearsed) == ("done", "", True)
    assert second.command == "python -c 'print(1)'"
    assert "no such kernel" in capsys.readouterr().out
    assert command.main(["fine", "--rehearse", "--results", str(tmp_path)]) == 0


def test_what_cannot_be_read_is_a_failure() -> None:
    unreadable = replace(part("unreadable", "print('{')"), read=read_checks)
    record = command.run_part(unreadable, MACHINE, rehearse=True)
    assert record.outcome == "failed"
    assert record.reason.startswith("What it printed can't be read: JSONDecodeError")


@pytest.mark.parametrize(
    "hears", ["", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"], ids=["stops", "has to be killed"]
)
def test_a_part_that_takes_too_long_is_interrupted_and_what_it_printed_is_kept(hears: str) -> None:
    code = f"{hears}import time; print('kept', flush=True); time.sleep(60)"
    ended = command.run_process(("-I", "-S", "-c", code), limit=3.0, grace=0.5)
    assert (ended.out, ended.interrupted) == ("kept\n", True)
    assert ended.code < 0 or not hears


def test_a_part_without_its_data_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path))
    record = command.run_part(part("cifar", "raise SystemExit(1)", "cifar10"), MACHINE)
    assert (record.outcome, record.reason) == ("left out", f"no cifar10 in {tmp_path}")
    (tmp_path / "cifar10/train").mkdir(parents=True)
    record = command.run_part(part("cifar", "print(1)", "cifar10"), MACHINE)
    assert record.command.endswith(" data.name=image_folder data.root=$BNEXP_DATA/cifar10")
    assert data_overrides("mnist") is None
    assert data_overrides("") == ()


def test_without_a_gpu_nothing_is_run_but_rehearsals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--results", str(tmp_path / "new")]) == 2
    assert "no CUDA device here" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["swep", "--rehearse", "--results", str(tmp_path / "new")])
    assert "no part is called swep; there are doctor, tests, sweep" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_documents_are_as_the_json_that_is_kept_makes_them() -> None:
    for page in documents.NOTHING:
        text = (documents.ROOT / page).read_text(encoding="utf-8")
        assert documents.rewritten(text, page, read(documents.FOLDER)) == text, "run make gpu-documents"


def test_documents_are_made_from_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = f"# Page\n\n{documents.BEGIN}\nold\n{documents.END}\n\nmore\n"
    for page in documents.NOTHING:
        (tmp_path / page).parent.mkdir()
        (tmp_path / page).write_text(empty)
    documents.main(tmp_path / "none", tmp_path)
    for page, nothing in documents.NOTHING.items():
        assert (tmp_path / page).read_text() == f"# Page\n\n{documents.BEGIN}\n\n{nothing}\n\n{documents.END}\n\nmore\n"
    results = tmp_path / "results"
    results.mkdir()
    failed = replace(RECORD, part="cifar_vgg", outcome="failed", reason="Exit code 1.\nout of memory", figures=[])
    for record in (RECORD, failed, replace(RECORD, part="waiting", outcome="left out", reason="no time")):
        record.write(results)
    assert read(results)["sweep"] == RECORD
    documents.main(results, tmp_path)
    written = (tmp_path / parts.BENCHMARKS).read_text()
    assert written == (
        f"# Page\n\n{documents.BEGIN}\n\n"
        "### 320 trials against a plain loop (`make gpu PARTS=sweep`)\n\n"
        "    python -m benchmarks.gpu.measure sweep\n\n"
        "NVIDIA H200 (139.0 GiB); driver 580.159.04, CUDA 13.0, cuDNN 9.19.0; Python 3.12.3, torch 2.11.0, "
        "NumPy 2.5.2, bnexp 0.3.0; 2026-12-01, 41 s.\n\n"
        "| what | found | to reach | reached | n | from |\n| --- | --- | --- | --- | --- | --- |\n"
        "| faster by | 103× | ≥ 100× | yes | 3 rounds | 0.2 over 21 s |\n\n"
        "### Calls that wait (`make gpu PARTS=waiting`)\n\n"
        "    python -m benchmarks.gpu.measure sweep\n\n"
        f"{RECORD.text.splitlines()[2]}\n\nLeft out: no time.\n\n| what {RECORD.text.partition('| what ')[2]}\n\n"
        f"{documents.END}\n\nmore\n"
    )
    trained = (tmp_path / parts.RESULTS).read_text()
    assert "Failed:\n\n```text\nExit code 1.\nout of memory\n```" in trained
    assert "320 trials" not in trained
    capsys.readouterr()


def test_no_document_shows_a_rehearsal_or_loses_its_place() -> None:
    page = parts.BENCHMARKS
    marked = f"{documents.BEGIN}\n{documents.END}"
    with pytest.raises(ValueError, match="rehearsed without a GPU, which no document shows: sweep"):
        documents.rewritten(marked, page, {"sweep": replace(RECORD, rehearsed=True)})
    for text in ("", documents.BEGIN, documents.END):
        with pytest.raises(ValueError, match=r"benchmarks/README\.md: the marks .* are missing"):
            documents.rewritten(text, page, {})


@pytest.mark.slow
def test_a_measurement_is_rehearsed_as_a_part() -> None:
    (waiting,) = (each for each in PARTS if each.name == "waiting")
    record = command.run_part(waiting, MACHINE, rehearse=True)
    assert (record.outcome, [each.target for each in record.figures]) == ("done", TARGETS["waiting"]), record.reason


@pytest.mark.slow
def test_every_part_is_rehearsed_and_makes_the_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--rehearse", "--results", str(tmp_path)]) == 0
    found = read(tmp_path)
    assert {name: record.reason for name, record in found.items() if record.outcome != "done"} == {}
    assert list(found) == sorted(each.name for each in PARTS)
    assert [name for name, record in found.items() if not (record.figures or record.table)] == []
    real = {name: replace(record, rehearsed=False) for name, record in found.items()}
    for page in documents.NOTHING:
        text = documents.rewritten((documents.ROOT / page).read_text(encoding="utf-8"), page, real)
        assert all(f"### {each.title} (`make gpu PARTS={each.name}`)" in text for each in PARTS if each.page == page)
    assert "near 83 %" in (tmp_path / "tables.md").read_text(encoding="utf-8")
    capsys.readouterr()
