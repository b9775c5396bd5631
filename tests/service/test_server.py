"""Claims about what the service needs before it serves."""

import re
import socket
import types

import pytest
import soundfile
from machine_sound import RATE, sound
from watch_service import write_service

import asd_jax.serve
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import lock_folder
from asd_jax.service import server
from asd_jax.service.configuration import Web
from asd_jax.service.connections import TimedProtocol
from asd_jax.service.service import Service


def test_what_another_program_uses_is_named(command, tmp_path, plain_detector):
    folder = tmp_path
    write_service(folder, plain_detector)
    soundfile.write(folder / "sound.wav", sound(0, 2.0), RATE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (folder / "m.toml").write_text(
            f"[web]\nport = {port}\n[[machine]]\nname = 'pump'\ndetector = 'pump.detector'\n"
            "source = 'sound.wav'\n"
        )
        status, out, _ = command(asd_jax.serve, f"--config={folder / 'm.toml'}", "--check")
        assert status == 0 and "1 machine can be watched" in out
        status, _, err = command(asd_jax.serve, f"--config={folder / 'm.toml'}")
        assert status == 2 and f"port {port}" in err
    text = (folder / "m.toml").read_text()
    (folder / "n.toml").write_text('state = "pump.detector/state"\n' + text)
    status, _, err = command(asd_jax.serve, f"--config={folder / 'n.toml'}", "--check")
    assert status == 2 and "state: " in err and "folder that can be written" in err
    with lock_folder(folder / "state"):
        status, _, err = command(asd_jax.serve, f"--config={folder / 'm.toml'}")
        assert status == 2 and "in use" in err


@pytest.fixture
def configured(tmp_path, plain_detector):
    """The path of a configuration whose state lies in folders that have to be made."""
    write_service(tmp_path, plain_detector)
    path = tmp_path / "machines.toml"
    path.write_text("state = 'new/folder'\n" + path.read_text().replace("[web]", "[web]\nport = 0"))
    return path


@pytest.fixture
def serving(monkeypatch):
    """What a service does, without its threads and without requests; the last server is `one`."""

    class Serving:
        def __init__(self, config):
            self.config = config
            self.ended = False
            self.should_exit = False
            Serving.one = self

        def run(self, sockets):
            (self.address,) = (one.getsockname() for one in sockets)
            for one in sockets:
                one.close()
            Serving.meanwhile()

    monkeypatch.setattr(server.uvicorn, "Server", Serving)
    # The real one replaces the handlers of all logs, also those of the tests.
    monkeypatch.setattr(server.uvicorn, "Config", lambda _, **of: types.SimpleNamespace(**of))
    monkeypatch.setattr(server, "start_quickly", lambda path: setattr(Serving, "compiled", path))
    monkeypatch.setattr(
        Service, "start", lambda self, on_failure: vars(self).update(_on_failure=on_failure)
    )
    end = Service.end

    def ended(self):
        Serving.one.ended = True
        end(self)

    monkeypatch.setattr(Service, "end", ended)
    Serving.meanwhile = lambda: None
    return Serving


def test_a_service_listens_as_configured_and_its_end_is_no_error(configured, serving, capsys):
    assert server.serve(configured) == 0
    one = serving.one
    (said,) = capsys.readouterr().out.splitlines()
    assert said == f"http://127.0.0.1:{one.address[1]}  pump, fan"
    assert one.address[0] == "127.0.0.1" and one.address[1] > 0 and one.ended
    assert not one.should_exit
    config = one.config
    assert config.http is TimedProtocol and config.limit_concurrency == 64
    assert config.timeout_graceful_shutdown == 5 and config.log_level == "warning"
    # Neither the version of a library nor a line for each request of a page.
    assert not config.server_header and not config.access_log
    assert serving.compiled == configured.parent / "new" / "folder" / "compiled"


def test_an_interrupted_service_ends_in_order(configured, serving):
    def interrupted():
        raise KeyboardInterrupt

    serving.meanwhile = interrupted
    assert server.serve(configured) == 0 and serving.one.ended


def test_a_service_that_cannot_go_on_ends_with_status_1(configured, serving, monkeypatch, capsys):
    services = []
    start = Service.start

    def kept(self, on_failure):
        services.append(self)
        start(self, on_failure)

    monkeypatch.setattr(Service, "start", kept)
    serving.meanwhile = lambda: services[0]._fail("a fault")
    assert server.serve(configured) == 1
    assert serving.one.should_exit and serving.one.ended
    assert "the service ends: a fault" in capsys.readouterr().err


def test_a_check_names_the_machines_and_leaves_nothing_open(configured, monkeypatch, capsys):
    services = []
    close = Service.close
    monkeypatch.setattr(Service, "close", lambda self: (services.append(self), close(self)))
    assert server.check(configured) == 0
    assert re.search(r"machines.toml: 2 machines can be watched\n$", capsys.readouterr().out)
    with pytest.raises(InputError, match="closed"):
        services[0].store.query("SELECT 1")
    assert server.check(configured) == 0  # the folder of the state may exist


def test_an_address_may_be_of_either_version_of_the_protocol(monkeypatch):
    asked = []
    with socket.socket() as listening:

        def create_server(address, **options):
            asked.append((*address, *options.values()))
            return listening

        monkeypatch.setattr(server.socket, "create_server", create_server)
        for host in ("::1", "127.0.0.1"):
            assert server._listening(Web(host=host, port=1)) is listening
    assert asked == [("::1", 1, socket.AF_INET6), ("127.0.0.1", 1, socket.AF_INET)]
