"""Admits only clients that have the token, and refuses requests that other web sites cause."""

import hashlib
import secrets
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from asd_jax.service.page import login_page

COOKIE = "asd_jax"
OPEN = ("/healthz", "/login")  # paths without a token
_LOCAL = ["localhost", "127.0.0.1", "[::1]"]
# The page loads nothing from elsewhere, so whatever an attacker smuggles into it loads nothing
# either.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def cookie_of(token: str) -> str:
    """Returns what the browser keeps instead of the token."""
    return hashlib.sha256(f"asd_jax {token}".encode()).hexdigest()


def same(given: str, expected: str) -> bool:
    """Returns whether two secrets are equal; the time taken does not tell where they differ."""
    return secrets.compare_digest(given.encode(), expected.encode())


def guard(app: FastAPI, token: str) -> None:
    """Makes an application answer only requests with the token, as a header or a cookie.

    Without a token, only programs of this computer can connect. But a browser is such a program,
    and any web site that is open in it may send requests. Hence requests must name this computer as
    their host (which a name that was bound to 127.0.0.1 does not), and a request that another site
    caused is refused.
    """
    if not token:
        # A name that an attacker bound to 127.0.0.1 would be another host.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOCAL)

    def known(request: Request) -> bool:
        header = request.headers.get("authorization", "").removeprefix("Bearer ")
        return same(header, token) or same(request.cookies.get(COOKIE, ""), cookie_of(token))

    @app.middleware("http")
    async def guarded(request: Request, answer):
        path = request.url.path
        origin = request.headers.get("origin")
        # Programs send no origin; browsers send it with each request that changes something. That
        # of the form of a page without referrer, as the login, is "null"; but so is that of a
        # frame in which another site hides what it is.
        login = (origin, path) == ("null", "/login")
        here = urlsplit(origin or "").netloc == request.headers.get("host")
        if origin is not None and not login and not here:
            return JSONResponse({"error": "a request of another web site"}, 403, _HEADERS)
        if token and path not in OPEN and not known(request):
            # A person gets a form, a program a message.
            if path == "/":
                return HTMLResponse(login_page(), 401, _HEADERS)
            return JSONResponse({"error": "give Authorization: Bearer TOKEN"}, 401, _HEADERS)
        response = await answer(request)
        response.headers.update(_HEADERS)
        return response
