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

LIBRARIES = ("apprise", "av", "fastapi", "paho.mqtt", "prometheus_client", "uvicorn")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("config", None, "machines.toml, the machines to watch", required=True)
    flags.DEFINE_bool("check", False, "check the file, the detectors and the sources, and end")


def main() -> int:
    """Serves until it is interrupted; returns 1 if the service could not go on."""
    # All that are missing are named at once: each attempt would otherwise name the next one.
    if missing := [name for name in LIBRARIES if not _found(name)]:
        raise InputError(f"serve needs {', '.join(missing)}: pip install 'asd_jax[service]'")
    # The service needs the libraries of the extra, so it is imported only when all are there.
    from asd_jax.service.server import check, serve

    path = Path(flags.FLAGS.config)
    return check(path) if flags.FLAGS.check else serve(path)


def _found(name: str) -> bool:
    """Returns whether a library is installed, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package above it
        return False


if __name__ == "__main__":
    run(main, define_flags)
