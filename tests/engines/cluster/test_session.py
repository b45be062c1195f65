"""Before a cluster is joined: whether anybody answers at its address."""

import signal
import socket

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")

from bnexp.engines.cluster.session import _check_reachable, _own_signals


def test_somebody_must_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        _check_reachable(address)
    with pytest.raises(ConnectionRefusedError):
        _check_reachable(address)


def test_the_handlers_of_signals_stay_ours() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with _own_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
