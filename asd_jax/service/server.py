"""Runs the service behind its web server, or checks whether it could run."""

import socket
from pathlib import Path

import uvicorn

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import lock_folder
from asd_jax.runtime.log import print_line
from asd_jax.runtime.start import start_quickly
from asd_jax.service.api import application
from asd_jax.service.configuration import Configuration, Web, read_configuration
from asd_jax.service.connections import CONNECTIONS, TimedProtocol
from asd_jax.service.service import Service


def check(path: Path) -> int:
    """Opens everything that a configuration names, prints that it can be watched, and returns 0.

    Raises:
        InputError: the file, a detector, a source or the folder of the state cannot be used.
    """
    service = Service(_prepared(path))
    # Nothing was started, so only the store is open.
    service.close()
    count = len(service.watchers)
    print_line(f"{path}: {count} machine{'s' * (count != 1)} can be watched")
    return 0


def serve(path: Path) -> int:
    """Serves until it is interrupted; returns 1 if the service could not go on.

    Raises:
        InputError: as for `check`; or another service uses the state, or the port is taken.
    """
    configuration = _prepared(path)
    # Two services on one store would report everything twice.
    with lock_folder(configuration.state, "state folder"):
        return _serve(Service(configuration))


def _prepared(path: Path) -> Configuration:
    """Returns the configuration in a file, with the folder of its state made."""
    configuration = read_configuration(path)
    state = configuration.state
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"state: {state} cannot be made ({error.strerror or error}); name a folder that can "
            'be written, e.g. state = "/var/lib/asd_jax"'
        ) from error
    # A service may run as a user without a home, so its programs are kept with its state.
    start_quickly(state / "compiled")
    return configuration


def _serve(service: Service) -> int:
    """Runs a service and its web server, and returns the exit status."""
    web = service.configuration.web
    # The port is taken before any thread starts, so that a port in use ends the command at once.
    listening = _listening(web)
    server = uvicorn.Server(
        uvicorn.Config(
            application(service),
            http=TimedProtocol,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
            server_header=False,
            access_log=False,
            log_level="warning",
        )
    )
    service.start(on_failure=lambda: setattr(server, "should_exit", True))
    try:
        port = listening.getsockname()[1]
        print_line(f"http://{web.host}:{port}  {', '.join(service.watchers)}")
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # the usual end
        pass
    finally:
        service.end()
    return 1 if service.failure else 0


def _listening(web: Web) -> socket.socket:
    """Returns a socket that listens at the address of the configuration."""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    try:
        return socket.create_server((web.host, web.port), family=family)
    except OSError as error:
        raise InputError(
            f"web: cannot listen at {web.host}, port {web.port} ({error.strerror or error}); "
            "give another web.host or web.port"
        ) from error
