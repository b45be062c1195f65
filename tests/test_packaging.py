"""The wheel carries the shipped configurations and works from an empty folder, without the checkout."""

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import bnexp

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))


def python(*words: object, here: Path, **environment: str) -> str:
    """Run Python in a folder and return what it printed."""
    ended = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=here,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without network."""
    if missing := [name for name in ("build", "hatchling", "pip") if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, here=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel in it."""
    folder = tmp_path_factory.mktemp("installed")
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, wheel, here=folder)
    return folder


def test_the_wheel_carries_the_package_and_the_shipped_configurations(wheel: Path) -> None:
    assert wheel.name == f"bnexp-{bnexp.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    for name in CONFIGS:
        assert inside[f"bnexp/shipped/{name}"] == (ROOT / "configs" / name).read_bytes()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "bnexp").rglob("*.py")}
    modules |= {f"bnexp/shipped/{path.relative_to(ROOT / 'configs')}" for path in (ROOT / "configs").rglob("*.py")}
    assert modules == {name for name in inside if name.endswith(".py")}
    assets = {str(path.relative_to(ROOT)) for path in (ROOT / "bnexp" / "report" / "html" / "assets").iterdir()}
    assert assets
    assert assets <= set(inside)
    assert not [name for name in inside if name.startswith(("tests/", "configs/", "runs/"))]


def test_the_wheel_brings_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "bnexp = bnexp.cli.main:main" in archive.read(entry_points).decode()


def test_the_installed_package_lists_its_configurations_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    place = python("-c", "import bnexp; print(bnexp.__file__)", here=tmp_path, PYTHONPATH=str(installed))
    assert Path(place.strip()) == installed / "bnexp" / "__init__.py"
    listed = python("-m", "bnexp", "list", "configs", here=tmp_path, PYTHONPATH=str(installed))
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [name.removesuffix(".yaml") for name in CONFIGS]
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_finds_a_documented_path_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    program = "from bnexp.config.load import find; print(find('configs/quickstart.yaml'))"
    found = python("-c", program, here=tmp_path, PYTHONPATH=str(installed))
    assert Path(found.strip()) == installed / "bnexp" / "shipped" / "quickstart.yaml"
    script = installed / "bin" / "bnexp"
    shown = subprocess.run(
        [script, "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0
    assert "Usage: bnexp" in shown.stdout
