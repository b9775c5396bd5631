"""Claims about who is let in, with a real HTTP client; the service runs in this process."""

import hashlib

import pytest
import requests
from watch_service import AUTHORIZED, MACHINES, TOKEN, Served

from asd_jax.service.access import COOKIE


def test_nothing_but_health_is_said_without_the_token(served):
    paths = ("/", "/api/machines", "/api/alarms", "/metrics", "/api/machines/pump/sound.wav")
    for path in (*paths, "/openapi.json", "/api/health"):
        assert requests.get(served.address + path, timeout=5).status_code == 401
        wrong = {"Authorization": "Bearer " + TOKEN[::-1]}
        assert requests.get(served.address + path, headers=wrong, timeout=5).status_code == 401
    health = requests.get(f"{served.address}/healthz", timeout=5)
    assert health.status_code == 200 and health.json() == {"status": "ok"}
    # A person gets a form, a program a message.
    form = requests.get(served.address, timeout=5)
    assert 'name="token"' in form.text and form.headers["content-type"].startswith("text/html")
    message = requests.get(f"{served.address}/api/machines", timeout=5)
    assert "Authorization" in message.json()["error"]


def test_either_the_header_or_the_cookie_of_the_token_opens_everything(served):
    secret = hashlib.sha256(f"asd_jax {TOKEN}".encode()).hexdigest()
    for headers, cookies in ((AUTHORIZED, {}), ({}, {COOKIE: secret})):
        for path in ("/", "/api/machines"):
            answer = requests.get(
                served.address + path, headers=headers, cookies=cookies, timeout=5
            )
            assert answer.status_code == 200
    for cookie in (TOKEN, "", secret[::-1]):
        address = f"{served.address}/api/machines"
        assert requests.get(address, cookies={COOKIE: cookie}, timeout=5).status_code == 401


def test_a_cookie_opens_the_page_to_a_browser(served):
    with requests.Session() as session:
        address = f"{served.address}/login"
        for form in ({"token": "wrong"}, {"other": TOKEN}, b"token=\xff"):
            wrong = session.post(address, form, timeout=5)
            assert wrong.status_code == 401 and 'role="alert"' in wrong.text
        assert session.post(address, "x" * 4096, timeout=5).status_code == 401
        assert session.post(address, "x" * 4097, timeout=5).status_code == 413
        answer = session.post(address, {"token": f" {TOKEN}\n"}, timeout=5, allow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        kept = set(answer.headers["set-cookie"].split("; ")[1:])
        assert kept == {"HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=strict"}
        page = session.get(served.address, timeout=5)
        assert "microphone" in page.text and TOKEN not in str(session.cookies)
        assert all(f"<h3>{name}</h3>" in page.text for name in ("pump", "fan"))


# Browsers state "null" for a frame in which another site hides what it is.
@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null"])
def test_a_request_that_another_web_site_caused_is_refused(served, origin):
    other = served.post("/api/machines/pump/shelve", Origin=origin)
    assert other.status_code == 403 and "another web site" in other.json()["error"]
    own = served.post("/api/machines/pump/unshelve", Origin=served.address)
    assert own.status_code == 200


def test_the_form_of_the_login_is_taken_although_its_page_has_no_referrer(served):
    address = f"{served.address}/login"
    for origin, status in (("null", 303), (served.address, 303), ("http://elsewhere.example", 403)):
        answer = requests.post(
            address, {"token": TOKEN}, headers={"Origin": origin}, timeout=5, allow_redirects=False
        )
        assert answer.status_code == status


def test_every_answer_forbids_to_load_to_embed_and_to_keep(served):
    answers = {
        200: served.get("/api/machines"),
        401: requests.get(f"{served.address}/api/machines", timeout=5),
        403: served.post("/api/machines/pump/shelve", Origin="http://elsewhere.example"),
        404: served.get("/api/machines/nothing"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status and answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert requests.get(served.address, timeout=5).headers["referrer-policy"] == "no-referrer"


def test_only_names_of_this_computer_are_answered_where_no_token_is_needed(folder, plain_detector):
    text = MACHINES.replace('token_file = "token"\n', "").replace(
        "sound.wav", "http://127.0.0.1:1/"
    )
    served = Served(folder, 'state = "local"\n' + text)
    try:
        for name in ("127.0.0.1", "localhost", "[::1]"):
            name = {"Host": f"{name}:{served.port}"}
            own = requests.get(f"{served.address}/api/machines", headers=name, timeout=5)
            assert own.status_code == 200
        # Without a token everybody who reaches the service may know what does not work.
        health = requests.get(f"{served.address}/healthz", timeout=5).json()
        assert health["status"] == "ok" and "fan" in health["not_listening"]
        name = {"Host": "rebound.example"}
        other = requests.get(f"{served.address}/api/machines", headers=name, timeout=5)
        assert other.status_code == 400
    finally:
        served.end()


def test_a_service_with_a_token_answers_by_any_name(served):
    named = AUTHORIZED | {"Host": "plant.example"}
    answer = requests.get(f"{served.address}/api/machines", headers=named, timeout=5)
    assert answer.status_code == 200
