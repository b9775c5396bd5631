"""Watches many machines at once: alarms, a web page, REST, MQTT, Prometheus and notifications.

  python -m asd_jax.serve --config=machines.toml
  python -m asd_jax.serve --config=machines.toml --check      reads everything, then ends

Needs the extra: pip install 'asd_jax[service]'. The keys of machines.toml: docs/service.md
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line

LIBRARIES = ("apprise", "av", "fastapi", "paho.mqtt", "prometheus_client", "uvicorn")
CONNECTIONS = 64  # that are served at once; further ones get status 503


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("config", None, "machines.toml, the machines to watch", required=True)
    flags.DEFINE_bool("check", False, "check the file, the detectors and the sources, and end")


def main() -> None:
    """Serves until it is interrupted."""
    if missing := [name for name in LIBRARIES if not _found(name)]:
        raise InputError(f"serve needs {', '.join(missing)}: pip install 'asd_jax[service]'")
    import uvicorn

    from asd_jax.service.api import application
    from asd_jax.service.configuration import read_configuration
    from asd_jax.service.service import Service, compiled_programs

    configuration = read_configuration(Path(flags.FLAGS.config))
    compiled_programs(configuration.state / "compiled")
    service = Service(configuration)
    if flags.FLAGS.check:
        service.store.close()
        print_line(f"{flags.FLAGS.config}: {len(service.watchers)} machines can be watched")
        return
    web = configuration.web
    settings = uvicorn.Config(
        application(service),
        host=web.host,
        port=web.port,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=5,
        server_header=False,
        access_log=False,
        log_level="warning",
    )
    service.start()
    try:
        print_line(f"http://{web.host}:{web.port}  {', '.join(service.watchers)}")
        uvicorn.Server(settings).run()
    finally:
        service.end()


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it
        return False


if __name__ == "__main__":
    run(main, define_flags)
