"""Closes the connections of clients that are too slow or too many, which uvicorn leaves open."""

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0  # in which a client must have sent the head of a request
CONNECTIONS = 64  # that are served at once; a further request gets status 503
MOST_OPEN = 4 * CONNECTIONS  # each takes a file descriptor; a further connection is closed at once


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with a time limit for the head of each request."""

    def connection_made(self, transport) -> None:  # of asyncio, or of uvloop where it is installed
        # This call comes first, because it counts the connection.
        super().connection_made(transport)
        if len(self.connections) > MOST_OPEN:
            transport.abort()
            return
        self.loop.call_later(REQUEST_SECONDS, self._close_if_idle, None)

    def _close_if_idle(self, seen: object) -> None:
        """Closes a connection that has begun no request since `seen` was its latest one."""
        if self.transport.is_closing():
            return
        latest = self.cycle
        # A request that is being answered may take longer.
        if latest is seen and (latest is None or latest.response_complete):
            self.transport.close()
            return
        # A kept connection gets the same time for each further request.
        self.loop.call_later(REQUEST_SECONDS, self._close_if_idle, latest)
