"""What is settled before a cluster is joined: the folder that all machines see, and who answers at an address."""

import signal
import socket
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'bnexp[ray]'")

from bnexp.engines.cluster.session import _folder_in, _knock, _own_signals


def test_the_folder_for_states_is_named_from_the_root_and_goes_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have another working directory."""
    monkeypatch.chdir(tmp_path)
    Path("shared").mkdir()
    with _folder_in(Path("shared")) as folder:
        assert folder.is_absolute()
        assert folder.parent == tmp_path / "shared"
        (folder / "000-0.safetensors").touch()
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.parametrize("address", ["nobody", "host:port", ":6379", "host:"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ValueError, match=r"^expected auto or HOST:PORT$"):
        _knock(address)


def test_somebody_must_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        _knock(address)
    with pytest.raises(ConnectionRefusedError):
        _knock(address)


def test_the_handlers_of_signals_stay_ours() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _own_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
