"""Sends alarms and silent microphones to people, through apprise."""

import hashlib
import threading

import apprise

from asd_jax.monitoring.cases import case_of
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.export import clock
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError

TITLES = {
    "alarm_announced": "alarm",
    "alarm_cleared": "alarm over",
    "trend": "a trend",
    "silent": "the microphone went silent",
    "sound_again": "the microphone gives sound again",
}


class Notifier:
    """One address of apprise; each has a mark of its own, so a dead one holds up no other."""

    def __init__(self, address: str, store: Store):
        """Makes the notifier of one address.

        Args:
            address: of a person or a group, as apprise writes it.
            store: of the alarms.

        Raises:
            InputError: apprise does not know such an address. The message leaves out its secrets.
        """
        self._apprise = apprise.Apprise()
        self._store = store
        if not self._apprise.add(address):
            # The rest of an address may be a password.
            scheme = address.partition("://")[0]
            raise InputError(
                f"notify: {scheme}://... is no address that apprise knows; see "
                "https://github.com/caronc/apprise/wiki"
            )
        # The name holds a hash, because an address holds secrets and the name is shown.
        self.name = "notify_" + hashlib.sha256(address.encode()).hexdigest()[:12]

    def send(self, event: dict, stop: threading.Event) -> bool:
        """Sends an event that people should know of, and returns whether it was received."""
        # True means delivered: what nobody needs to know must not wait.
        if event["event"] not in TITLES or self._never_announced(event):
            return True
        title = f"{event['machine']}: {TITLES[event['event']]}"
        # A receiver that was away gets the message late, so the message has its time.
        body = f"{clock(event['time'])} {event['message']}".rstrip()
        return bool(self._apprise.notify(body=body, title=title))

    def _never_announced(self, event: dict) -> bool:
        """Returns whether an alarm is over that was shelved, or fell into the quiet hours."""
        if event["event"] != "alarm_cleared":
            return False
        try:
            return case_of(self._store, event["case"]).announced is None
        except NotStored:
            raise
        except InputError:  # the case has been removed since
            return False
