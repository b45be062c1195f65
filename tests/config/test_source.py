"""Sources of networks of the user's own, as they are written and known on any system."""

from pathlib import Path

from bnexp.config.source import NetworkSource, digest, without_folder

ON_WINDOWS = r"C:\Users\me\my net.py:Net#1a2b3c4d5e6f"


def test_a_path_of_windows_is_read_with_its_drive() -> None:
    source = NetworkSource.parse(ON_WINDOWS)
    assert (source.place, source.name, source.digest) == (r"C:\Users\me\my net.py", "Net", "1a2b3c4d5e6f")


def test_a_source_has_one_name_wherever_its_folder_is() -> None:
    for folder in ("C:\\Users\\me\\", "/home/me/", ""):
        assert without_folder(f"{folder}my_net.py:Net#1a2b3c4d5e6f") == "my_net.py:Net#1a2b3c4d5e6f"


def test_line_ends_are_no_other_code(tmp_path: Path) -> None:
    path = tmp_path / "my_net.py"
    found = []
    for content in (b"import torch\nx = 1\n", b"import torch\r\nx = 1\r\n", b"import torch\nx = 2\n"):
        path.write_bytes(content)
        found.append(digest(path))
    assert found[0] == found[1] != found[2]
