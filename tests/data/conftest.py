import pytest
from data.zips import DEV, Done, dev_zip
from zenodo_server import ZenodoServer

import asd_jax.data.download
from asd_jax.data.audio import read_clip_int16
from asd_jax.data.dcase import EDITIONS


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "a.bin").write_bytes(content)
        return read_clip_int16(tmp_path / "a.bin")

    return read


@pytest.fixture
def server():
    server = ZenodoServer()
    server.records[DEV] = {f"dev_{machine}.zip": dev_zip(machine) for machine in EDITIONS[2024].dev}
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def download(server, command, monkeypatch):
    """Runs the command against the server; gives its status and what it printed."""
    monkeypatch.setenv("NO_PROXY", "*")

    def run(output, *arguments, year=2024):
        flags = (f"--year={year}", f"--output={output}", f"--base_url={server.url}")
        return Done(*command(asd_jax.data.download, *flags, *arguments))

    return run
