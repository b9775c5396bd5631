"""Sends alarms and silent microphones to people, through apprise."""

import hashlib
import threading

from asd_jax.runtime.errors import InputError

SENT = {
    "alarm_raised": "alarm",
    "alarm_cleared": "alarm over",
    "silent": "the microphone went silent",
    "sound": "the microphone is back",
    "lost": "the source is lost",
}


class Notifier:
    """One address of apprise; each has a mark of its own, so a dead one holds up no other."""

    def __init__(self, address: str):
        """Takes an address.

        Raises:
            InputError: apprise does not know such an address. The message leaves out its secrets.
        """
        import apprise

        self._apprise = apprise.Apprise()
        if not self._apprise.add(address):
            scheme = address.partition("://")[0]
            raise InputError(
                f"notify: {scheme}://... is no address that apprise knows; see "
                "https://github.com/caronc/apprise/wiki"
            )
        self.name = "notify_" + hashlib.sha256(address.encode()).hexdigest()[:12]

    def send(self, event: dict, stop: threading.Event) -> bool:
        """Sends an event that people should know of, and returns whether it was received."""
        if event["event"] not in SENT:
            return True
        title = f"{event['machine']}: {SENT[event['event']]}"
        return bool(self._apprise.notify(body=event["message"] or title, title=title))
