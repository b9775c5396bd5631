"""Watches many machines at once: alarms, a web page, REST, MQTT, Prometheus and notifications.

  python -m asd_jax.serve --config=machines.toml
  python -m asd_jax.serve --config=machines.toml --check      reads everything, then ends

Needs the extra: pip install 'asd_jax[service]'. The keys of machines.toml: docs/service.md
"""

import importlib.util
import socket
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line

LIBRARIES = ("apprise", "av", "fastapi", "paho.mqtt", "prometheus_client", "uvicorn")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("config", None, "machines.toml, the machines to watch", required=True)
    flags.DEFINE_bool("check", False, "check the file, the detectors and the sources, and end")


def main() -> int:
    """Serves until it is interrupted; returns 1 if the service could not go on."""
    if missing := [name for name in LIBRARIES if not _found(name)]:
        raise InputError(f"serve needs {', '.join(missing)}: pip install 'asd_jax[service]'")
    from asd_jax.runtime.lock import lock_folder
    from asd_jax.runtime.start import start_quickly
    from asd_jax.service.configuration import read_configuration
    from asd_jax.service.service import Service

    configuration = read_configuration(Path(flags.FLAGS.config))
    state = configuration.state
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"state: {state} cannot be made ({error.strerror or error}); name a folder that can "
            'be written, e.g. state = "/var/lib/asd_jax"'
        ) from error
    start_quickly(state / "compiled")
    if flags.FLAGS.check:
        service = Service(configuration)
        service.close()
        count = len(service.watchers)
        watched = f"{count} machine{'s' * (count != 1)} can be watched"
        print_line(f"{flags.FLAGS.config}: {watched}")
        return 0
    # Two services on one store would report everything twice.
    with lock_folder(configuration.state, "state folder"):
        return _serve(Service(configuration))


def _serve(service) -> int:
    import uvicorn

    from asd_jax.service.api import application
    from asd_jax.service.connections import CONNECTIONS, TimedProtocol

    web = service.configuration.web
    try:
        family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
        listening = socket.create_server((web.host, web.port), family=family)
    except OSError as error:
        raise InputError(
            f"web: cannot listen at {web.host}, port {web.port} ({error.strerror or error}); "
            "give another web.host or web.port"
        ) from error
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


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it
        return False


if __name__ == "__main__":
    run(main, define_flags)
