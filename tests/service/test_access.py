"""Claims about who is let in, with a real HTTP client; the service runs in this process."""

import requests
from watch_service import MACHINES, TOKEN, Served


def test_nothing_but_health_is_said_without_the_token(served):
    paths = ("/", "/api/machines", "/api/alarms", "/metrics", "/api/machines/pump/sound.wav")
    for path in (*paths, "/openapi.json", "/api/health"):
        assert requests.get(served.address + path, timeout=5).status_code == 401
        wrong = {"Authorization": "Bearer " + TOKEN[::-1]}
        assert requests.get(served.address + path, headers=wrong, timeout=5).status_code == 401
    health = requests.get(f"{served.address}/healthz", timeout=5)
    assert health.status_code == 200 and health.json() == {"status": "ok"}


def test_a_cookie_opens_the_page_to_a_browser(served):
    with requests.Session() as session:
        address = f"{served.address}/login"
        assert session.post(address, {"token": "wrong"}, timeout=5).status_code == 401
        page = session.post(address, {"token": TOKEN}, timeout=5)
        assert "microphone" in page.text and TOKEN not in str(session.cookies)
        assert all(f"<h3>{name}</h3>" in page.text for name in ("pump", "fan"))


def test_a_request_that_another_web_site_caused_is_refused(served):
    other = served.post("/api/machines/pump/shelve", Origin="http://elsewhere.example")
    assert other.status_code == 403
    own = served.post("/api/machines/pump/unshelve", Origin=served.address)
    assert own.status_code == 200


def test_only_names_of_this_computer_are_answered_where_no_token_is_needed(folder, plain_detector):
    text = MACHINES.replace('token_file = "token"\n', "").replace(
        "sound.wav", "http://127.0.0.1:1/"
    )
    served = Served(folder, 'state = "local"\n' + text)
    try:
        assert requests.get(f"{served.address}/api/machines", timeout=5).status_code == 200
        name = {"Host": "rebound.example"}
        other = requests.get(f"{served.address}/api/machines", headers=name, timeout=5)
        assert other.status_code == 400
    finally:
        served.end()
