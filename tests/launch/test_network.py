"""A vLLM server whose machine is gone."""

import sys
import time
from pathlib import Path

import pytest

from tests.launch.hosts import network

LISTEN = """
import socket, time
connection, _ = socket.create_server(("", 8000)).accept()
print("asked", flush=True)
time.sleep(600)
"""
ASK = "import sys; from concise_rl.rollout.engines.http import Http; Http(sys.argv[1], 7200).call('GET', '/v1/models')"


@pytest.mark.slow
def test_a_server_whose_machine_is_gone_is_noticed_however_long_it_may_take_to_answer(tmp_path: Path) -> None:
    with network(2) as made:
        ours, theirs = made.hosts
        theirs.start([sys.executable, "-c", LISTEN], tmp_path / "server")
        time.sleep(1)
        client = ours.start([sys.executable, "-c", ASK, f"http://{theirs.address}:8000"], tmp_path / "client")
        deadline = time.monotonic() + 120
        while "asked" not in (tmp_path / "server").read_text():
            assert time.monotonic() < deadline and client.poll() is None, (tmp_path / "client").read_text()
            time.sleep(0.1)
        made.cut(theirs)
        began = time.monotonic()
        assert client.wait(60) == 1
    print(f"server's network cut: noticed after {time.monotonic() - began:.1f} s")
    assert f"EngineError: The vLLM server at http://{theirs.address}:8000 is gone" in (tmp_path / "client").read_text()
