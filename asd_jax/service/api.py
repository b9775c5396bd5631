"""The web page and the REST interface, behind a token."""

import asyncio
import hashlib
import io
import os
import secrets
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import soundfile
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from asd_jax.data.audio import audio_format, read_clip
from asd_jax.monitoring.store import DAY, NotStored
from asd_jax.runtime.errors import InputError
from asd_jax.service.metrics import Metrics
from asd_jax.service.page import login_page, machines_page
from asd_jax.service.service import Service

UPLOADS = 2  # recordings that are received or scored at once; further clients are told to wait
UPLOAD_TIMEOUT_S = 60.0
COOKIE = "asd_jax"
MOST_POINTS = 2000  # of a trend
_OPEN = ("/healthz", "/login")  # paths without a token
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(service: Service) -> FastAPI:
    """Returns the web application of a service."""
    # The pages of documentation would load scripts from another server.
    app = FastAPI(title="asd_jax", docs_url=None, redoc_url=None)
    web, token = service.configuration.web, service.configuration.token
    pass_of = hashlib.sha256(f"asd_jax {token}".encode()).hexdigest()
    metrics, slots = Metrics(service.states), asyncio.Semaphore(UPLOADS)

    def known(request: Request) -> bool:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        cookie = request.cookies.get(COOKIE, "").encode()
        return secrets.compare_digest(given, token.encode()) or secrets.compare_digest(
            cookie, pass_of.encode()
        )

    @app.middleware("http")
    async def guarded(request: Request, go_on):
        path = request.url.path
        if token and path not in _OPEN and not known(request):
            if path == "/":
                return HTMLResponse(login_page(), 401, _HEADERS)
            return JSONResponse({"error": "give Authorization: Bearer TOKEN"}, 401, _HEADERS)
        response = await go_on(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(InputError)
    async def refused(request: Request, error: InputError):
        return JSONResponse({"error": str(error)}, 503 if isinstance(error, NotStored) else 400)

    def watcher_of(name: str):
        if name not in service.watchers:
            raise HTTPException(404, f"no machine {name!r}")
        return service.watchers[name]

    @app.get("/healthz")
    def healthz():
        alive, said = service.health()
        # Names of machines are for those who have the token.
        return JSONResponse({"status": said["status"]} if token else said, 200 if alive else 503)

    @app.get("/metrics")
    def prometheus():
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/login")
    async def login(request: Request):
        form = parse_qs((await _body(request, 4096)).decode(errors="replace"))
        given = form.get("token", [""])[0].strip()
        if not secrets.compare_digest(given.encode(), token.encode()):
            return HTMLResponse(login_page(wrong=True), 401)
        answer = RedirectResponse("/", 303)
        # SameSite keeps other sites from acknowledging alarms with this cookie.
        answer.set_cookie(COOKIE, pass_of, max_age=int(30 * DAY), httponly=True, samesite="strict")
        return answer

    @app.get("/")
    def page():
        return HTMLResponse(machines_page(service))

    @app.get("/api/machines")
    def machines():
        return service.states()

    @app.get("/api/machines/{name}")
    def machine(name: str):
        return watcher_of(name).state()

    @app.get("/api/machines/{name}/trend")
    def trend(name: str, days: float = 7.0):
        watcher_of(name)
        if not 0 < days <= 4000:
            raise InputError(f"days={days:g}: give 0 to 4000")
        series = service.store.readings(name, since=time.time() - days * DAY)
        some = slice(None, None, max(1, -(-len(series.time) // MOST_POINTS)))
        fields = ("time", "score", "highest", "threshold")
        return {field: np.round(getattr(series, field)[some], 4).tolist() for field in fields}

    @app.get("/api/events")
    def events(after: int = 0, machine: str | None = None):
        return service.store.events(machine, after=after)

    @app.post("/api/machines/{name}/acknowledge")
    async def acknowledge(name: str, by: str = ""):
        watcher = watcher_of(name)
        if not watcher.alarm.active:
            raise HTTPException(409, "there is no alarm to acknowledge")
        watcher.note("alarm_acknowledged", f"by {by[:100]}" if by else "", by=by[:100])
        return {"acknowledged": name}

    @app.get("/api/machines/{name}/evidence.wav")
    def evidence(name: str):
        watcher = watcher_of(name)
        shown = watcher.evidence or watcher.last
        if shown is None:
            raise HTTPException(404, "nothing has been heard yet")
        file = io.BytesIO()
        soundfile.write(file, shown.wave, shown.rate, format="WAV", subtype="PCM_16")
        return Response(file.getvalue(), media_type="audio/wav")

    @app.post("/api/machines/{name}/score")
    async def score(name: str, request: Request):
        watcher = watcher_of(name)
        if slots.locked():
            raise HTTPException(429, "busy with other recordings", {"Retry-After": "5"})
        async with slots:
            handle, path = tempfile.mkstemp(prefix="asd_jax_", suffix=".upload")
            try:
                with os.fdopen(handle, "wb") as file:
                    await _received(request, file, round(web.upload_mb * 1e6))
                return await asyncio.to_thread(
                    _verdict, watcher.detector, Path(path), web.upload_seconds
                )
            finally:
                os.unlink(path)

    return app


def _verdict(detector, path: Path, longest: float) -> dict:
    try:
        seconds = audio_format(path)[0]
        if seconds > longest:
            raise InputError(f"{seconds:.0f} s of sound; at most {longest:g} s are scored")
        verdict = detector.examine(read_clip(path, sample_rate=detector.settings.sample_rate))
    except InputError as error:
        raise InputError(str(error).replace(str(path), "the recording")) from error
    return {
        "score": round(float(verdict.score), 4),
        "threshold": round(float(verdict.threshold), 4),
        "p_value": round(float(verdict.p_value), 6),
        "is_anomaly": bool(verdict.is_anomaly),
        "worst_seconds": [round(float(second), 3) for second in verdict.worst_seconds],
        "view": verdict.view,
        "note": verdict.note,
    }


async def _received(request: Request, file, most: int) -> None:
    """Writes the body of a request to a file, and refuses one that is too large or too slow."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise HTTPException(413, f"a recording may have {most} bytes")
    count = 0
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            async for chunk in request.stream():
                count += len(chunk)
                if count > most:
                    raise HTTPException(413, f"a recording may have {most} bytes")
                file.write(chunk)
    except TimeoutError:
        raise HTTPException(408, f"not received within {UPLOAD_TIMEOUT_S:g} s") from None


async def _body(request: Request, most: int) -> bytes:
    file = io.BytesIO()
    await _received(request, file, most)
    return file.getvalue()
