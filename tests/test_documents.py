"""The README and the pages below docs/: links lead somewhere, commands and options exist, and examples work."""

import doctest
import re
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

import bnexp
from bnexp.cli.main import app
from bnexp.cli.outputs import to_markdown
from bnexp.config.load import resolve

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
GENERATED = {DOCS / "claims.md", DOCS / "papers.md", DOCS / "json.md", DOCS / "settings.md"}
MOST_README_LINES = 160
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = ("python", "yaml")
COMMAND = re.compile(r"^(?:\$ )?bnexp ((?:[a-z]+ )?[a-z]+)\b(.*)$", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_examples(page: Path) -> str:
    return FENCE.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (title.lower() for title in HEADING.findall(without_examples(page)))
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}


def examples(language: str) -> list[tuple[str, str]]:
    """Return the page and the text of every fenced example in a language."""
    return [(name(page), body) for page in PAGES for found, body in FENCE.findall(text(page)) if found == language]


@cache
def commands() -> dict[str, set[str]]:
    """Every command and the options that it takes."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    found = {}
    for first, command in root.commands.items():
        inner = command.commands.items() if isinstance(command, TyperGroup) else [("", command)]
        for second, leaf in inner:
            found[f"{first} {second}".strip()] = {option for param in leaf.params for option in param.opts}
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_examples(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or file.suffix != ".md" or anchor in anchors(file), target


@pytest.mark.parametrize("page", sorted({*PAGES} - GENERATED), ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    for path in re.findall(r"`((?:bnexp|tests|configs|benchmarks|examples|docs)/[\w/.]+)`", without_examples(page)):
        assert (ROOT / path).exists(), path


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)\)", text(DOCS / "README.md")))
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


def test_the_page_about_json_is_current() -> None:
    assert text(DOCS / "json.md") == to_markdown() + "\n", "bnexp schema --markdown > docs/json.md"


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(text(ROOT / "README.md").splitlines()) <= MOST_README_LINES


def test_the_readme_has_every_command() -> None:
    table = text(ROOT / "README.md").split("## The commands")[1].split("\n## ")[0]
    assert {command for command in commands() if f"`bnexp {command}" not in table} == set()


@pytest.mark.parametrize("page", sorted({*PAGES} - GENERATED), ids=name)
def test_every_command_that_a_page_names_exists_and_takes_the_options(page: Path) -> None:
    inline = re.findall(r"`([^`\n]+)`", without_examples(page))
    indented = re.findall(r"^    (.*)$", without_examples(page), re.MULTILINE)
    code = "\n".join([*inline, *indented, *(body for _, body in FENCE.findall(text(page)))])
    for words, rest in COMMAND.findall(code):
        first, *_ = words.split()
        command = next((known for known in (words, first) if known in commands()), None)
        group = any(known.startswith(f"{first} ") for known in commands())
        assert command or group, f"bnexp {words}"
        options = set(re.findall(r"(?<=\s)--[a-z][\w-]*", f" {rest}")) - {"--help"}
        assert not command or options <= commands()[command], f"bnexp {words}{rest}"


@pytest.mark.parametrize(("page", "example"), examples("yaml"))
def test_every_example_in_yaml_is_a_configuration_or_a_part_of_one(page: str, example: str) -> None:
    for named, there in (("my_net.py:Net", "lenet5.py:LeNet5"), ("mixer.py:Mixer", "mixer.py:Mixer")):
        example = example.replace(named, f"examples/networks/{there}")
    raw = yaml.safe_load(example)
    assert resolve({"name": "example"} | raw, page).name == raw.get("name", "example")


@pytest.mark.parametrize(("page", "example"), examples("python"))
def test_every_example_in_python_can_be_read(page: str, example: str) -> None:
    compile(example, page, "exec")


def test_the_examples_of_the_page_about_python_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNEXP_DATA", str(tmp_path))
    names: dict[str, object] = {}
    for page, example in examples("python"):
        if page == "docs/python.md":
            exec(example.replace('"epochs": 10', '"epochs": 1').replace('"seeds": 6', '"seeds": 2'), names)
    assert (tmp_path / "curves.png").exists()


def test_the_tutorial_of_an_own_network_goes_from_its_file_to_a_comparison(tmp_path: Path) -> None:
    pages = {kind: [example for page, example in examples(kind) if "own-network-tutorial" in page] for kind in CODE}
    (code,), (experiment,) = (pages[kind] for kind in CODE)
    for file, written in (("mixer.py", code), ("mixer.yaml", experiment)):
        shipped = (ROOT / "examples" / "networks" / file).read_text()
        assert written == shipped.removeprefix("# yaml-language-server: $schema=../../configs/schema.json\n")
        (tmp_path / file).write_text(written)
    small = {"seeds": 2, "train.epochs": 1, "data.train_size": 128, "data.test_size": 32}
    run = bnexp.run(tmp_path / "mixer.yaml", small, runs=tmp_path, workers=1, progress=False)
    assert set(run.compare().equal["arm"]) == {"none", "as_written", "batch"}


def test_the_statistics_by_hand_give_what_the_page_says() -> None:
    assert doctest.testfile(str(DOCS / "comparing.md"), module_relative=False).failed == 0
