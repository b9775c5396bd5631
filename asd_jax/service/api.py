"""The web page and the REST interface."""

import dataclasses
import io
import time
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

import soundfile
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
)

from asd_jax.monitoring import cases, shelving
from asd_jax.monitoring.database import NotStored
from asd_jax.monitoring.store import DAY
from asd_jax.runtime.errors import InputError
from asd_jax.service.access import COOKIE, cookie_of, guard, same
from asd_jax.service.metrics import Metrics
from asd_jax.service.page import login_page, machines_page
from asd_jax.service.service import Service
from asd_jax.service.trends import Trends, highest_scores
from asd_jax.service.uploads import Uploads, received_form
from asd_jax.service.watcher import Watcher

MOST_POINTS = 2000  # of a trend
_LONGEST_TEXT = 200  # characters of a name or a note that a client gives


def application(service: Service) -> FastAPI:
    """Returns the web application of a service."""
    # The pages of documentation would load scripts from another server.
    app = FastAPI(title="asd_jax", docs_url=None, redoc_url=None)
    guard(app, service.configuration.token)

    @app.exception_handler(InputError)
    async def refused(request: Request, error: InputError):
        # 503 says that the same request may succeed later; 400, that it never will.
        return JSONResponse({"error": str(error)}, 503 if isinstance(error, NotStored) else 400)

    _add_pages(app, service)
    _add_machines(app, service)
    _add_alarms(app, service)
    return app


def _add_pages(app: FastAPI, service: Service) -> None:
    """Adds the page, the login, the metrics and the health."""
    token = service.configuration.token
    metrics = Metrics(service)
    # A page that reads a week must not hold up the record, hence the other connection.
    trends = Trends(service.web_store)

    @app.get("/healthz")
    def healthz():
        works, state = service.health()
        # Names of machines are for those who have the token.
        content = {"status": state["status"]} if token else state
        return JSONResponse(content, 200 if works else 503)

    @app.get("/api/health")
    def health():
        return service.health()[1]

    @app.get("/metrics")
    def prometheus():
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/login")
    async def login(request: Request):
        form = parse_qs(await received_form(request))
        if not same(form.get("token", [""])[0].strip(), token):
            return HTMLResponse(login_page(wrong=True), 401)
        answer = RedirectResponse("/", 303)
        # SameSite keeps other sites from acknowledging alarms with this cookie.
        answer.set_cookie(
            COOKIE, cookie_of(token), max_age=int(30 * DAY), httponly=True, samesite="strict"
        )
        return answer

    @app.get("/")
    def page():
        return HTMLResponse(machines_page(service, trends))


def _watcher(service: Service, name: str) -> Watcher:
    """Returns the watcher of a machine; an unknown machine is answered with status 404."""
    if name not in service.watchers:
        raise HTTPException(404, f"no machine {name!r}")
    return service.watchers[name]


def _add_machines(app: FastAPI, service: Service) -> None:
    """Adds the states, trends, events and sounds of machines, and the scores of recordings."""
    store = service.web_store
    uploads = Uploads(service.configuration.web)

    @app.get("/api/machines")
    def machines():
        return service.states()

    @app.get("/api/machines/{name}")
    def machine(name: str):
        return _watcher(service, name).state()

    @app.get("/api/machines/{name}/trend")
    def trend(name: str, days: float = 7.0):
        _watcher(service, name)
        # The condition is written so that NaN is refused, too.
        if not 0 < days <= 4000:
            raise InputError(f"days={days:g}: give 0 to 4000")
        now = time.time()
        return highest_scores(store, name, now - days * DAY, now, MOST_POINTS)

    @app.get("/api/events")
    def events(after: int = 0, machine: str | None = None):
        return store.events(machine, after=after)

    @app.get("/api/machines/{name}/sound.wav")
    def sound(name: str):
        last = _watcher(service, name).last
        if last is None:
            raise HTTPException(404, "no window was scored yet")
        file = io.BytesIO()
        # Browsers play 16-bit wav; few play floats.
        soundfile.write(file, last.wave, last.rate, format="WAV", subtype="PCM_16")
        return Response(file.getvalue(), media_type="audio/wav")

    @app.post("/api/machines/{name}/score")
    async def score(name: str, request: Request):
        return await uploads.verdict(request, _watcher(service, name).detector)


def _add_alarms(app: FastAPI, service: Service) -> None:
    """Adds the record of alarms, which is the one that `detect alarms` shows."""
    store = service.web_store

    def as_json(case: cases.Case) -> dict:
        return dataclasses.asdict(case) | {"state": case.state(time.time())}

    @app.get("/api/alarms")
    def alarms(machine: str | None = None, open: bool = False):
        return [as_json(case) for case in cases.cases(store, machine, only_open=open)]

    @app.get("/api/alarms/{number}")
    def alarm(number: int):
        return as_json(cases.case_of(store, number))

    @app.get("/api/alarms/{number}/{file}")
    def evidence(number: int, file: Literal["sound.wav", "heat_map.svg", "verdict.json"]):
        # The type allows three names only: a path of the client's own could leave the folder.
        folder = cases.case_of(store, number).occurrences[-1].evidence
        path = Path(folder) / file
        if not (folder and path.is_file()):
            raise HTTPException(404, "not kept, or removed since")
        return FileResponse(path)

    @app.post("/api/alarms/{number}/acknowledge")
    def acknowledge(number: int, by: str = "", note: str = ""):
        # Long texts are cut, because the acknowledgement matters more than its note.
        by = by[:_LONGEST_TEXT]
        note = note[:_LONGEST_TEXT]
        return as_json(cases.acknowledge(store, number, time.time(), by, note))

    @app.post("/api/machines/{name}/shelve")
    def shelve(name: str, hours: float = 8.0, by: str = ""):
        _watcher(service, name)
        now = time.time()
        until = now + 3600 * hours
        shelving.shelve(store, name, now, until, by[:_LONGEST_TEXT])
        return {"machine": name, "shelved_until": until}

    @app.post("/api/machines/{name}/unshelve")
    def unshelve(name: str, by: str = ""):
        _watcher(service, name)
        shelving.unshelve(store, name, time.time(), by[:_LONGEST_TEXT])
        return {"machine": name, "shelved_until": None}
