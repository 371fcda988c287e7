"""Who may ask, and how much a request may be."""

import asyncio
import hmac
import json
import logging

import pytest
from wire import client, refused

from worldpm.serve import guard
from worldpm.serve.app import create_app
from worldpm.serve.dialects import ROUTES
from worldpm.serve.guard import Guard, JsonLines
from worldpm.serve.run import is_loopback
from worldpm.serve.settings import ServeSettings

KEY, OTHER = "first-key", "second-key"
BODY = {"items": [{"prompt": "a", "response": "bcd"}]}
PATHS = [
    (method, route.path)
    for route in create_app(lambda c: [], ServeSettings(), ROUTES).routes
    for method in sorted(route.methods - {"HEAD"})
]


@pytest.fixture(scope="module")
def open_http():
    with client() as found:
        yield found


@pytest.fixture(scope="module")
def keyed():
    with client(keys=(KEY, OTHER)) as found:
        yield found


def bearer(key):
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_route_needs_its_key(keyed, method, path):
    """No key, a wrong one, one in the query or of another scheme: 401 on every route but health and
    the page, which holds nothing; with either key, anything else."""
    wrong = [
        {}, bearer("wrong"), bearer(""), bearer(KEY + "x"), bearer(KEY[:-1]), bearer(KEY.upper()),
        {"authorization": KEY}, {"authorization": f"Basic {KEY}"}, {"x-api-key": KEY},
    ]  # fmt: skip
    for headers in wrong:
        for query in ("", f"?key={KEY}&authorization=Bearer%20{KEY}"):
            answer = keyed.request(method, path + query, headers=headers, json=BODY)
            if path in {"/health", "/"}:
                assert answer.status_code == 200
            else:
                assert refused(answer, 401)["type"] == "unauthorized"
                assert answer.headers["www-authenticate"] == "Bearer"
    for key in (KEY, OTHER):
        assert keyed.request(method, path, headers=bearer(key), json=BODY).status_code != 401


def test_unknown_paths_tell_nothing_without_a_key(keyed):
    """What is no route gets 401 like what is one, and 404 with the key."""
    assert refused(keyed.get("/nothing"), 401)
    assert refused(keyed.get("/nothing", headers=bearer(KEY)), 404)["type"] == "not_found"
    assert refused(keyed.put("/v1/score", headers=bearer(KEY)), 405)["type"] == "method_not_allowed"


def test_keys_are_compared_in_constant_time(monkeypatch):
    """Every key is compared by hmac, whether or not one before it fitted."""
    compared = []

    def digest(own, given):
        compared.append(own)
        return hmac.compare_digest(own, given)

    monkeypatch.setattr(guard, "hmac", type("H", (), {"compare_digest": staticmethod(digest)}))
    with client(keys=(KEY, OTHER)) as http:
        assert http.get("/info", headers=bearer(KEY)).status_code == 200
    assert compared == [KEY.encode(), OTHER.encode()]


HOSTS = ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:99", "[::1]", "[::1]:80",
         "LOCALHOST"]  # fmt: skip
NO_HOSTS = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil",
            "evil.example:8000", "", "10.0.0.1", "localhost, evil.example", "127.0.0.1:80:80",
            "[::1].evil"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_loopback_hosts(open_http, host):
    """A server without a key answers under the names of the machine itself."""
    assert open_http.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", NO_HOSTS)
def test_foreign_hosts(open_http, host):
    """It answers under no other name: a page whose name was rebound to 127.0.0.1 gets 403."""
    answer = open_http.post("/v1/score", headers={"host": host}, json=BODY)
    assert refused(answer, 403)["type"] == "forbidden_host"


def test_hosts_can_be_allowed():
    """`hosts` adds names, `*` all of them; with a key and without `hosts` any name goes."""
    with client(hosts=("rm.example",)) as http:
        assert http.get("/health", headers={"host": "rm.example:80"}).status_code == 200
        assert http.get("/health", headers={"host": "evil.example"}).status_code == 403
    with client(keys=(KEY,)) as http:
        assert http.get("/health", headers={"host": "evil.example"}).status_code == 200
    with client(keys=(KEY,), hosts=("rm.example",)) as http:
        assert http.get("/health", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("host", ["RM.Example", "rm.example:99", "rm2.example:8000"])
def test_hosts_are_names_in_any_case_and_may_have_a_port(host):
    """What stands in `hosts` is answered as it stands; of one with a port, no other port is."""
    with client(hosts=("RM.Example", "rm2.example:8000")) as http:
        assert http.get("/health", headers={"host": host}).status_code == 200
        assert http.get("/health", headers={"host": "rm2.example:8001"}).status_code == 403
        assert http.get("/health", headers={"host": "rm2.example"}).status_code == 403


ORIGINS = {"https://evil.example": 403, "null": 403, "http://localhost.evil.example": 403,
           "https://localhost:8000": 403, "ftp://localhost": 403, "https://localhost, x": 403,
           "http://localhost:8000": 403, "http://localhost": 200, "https://localhost": 200,
           "https://lab.example": 200}  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_origins(origin):
    """A page may call from the server's own origin and from those allowed, and reads no answer
    from another."""
    with client(origins=("https://lab.example",)) as http:
        answer = http.post("/v1/score", json=BODY, headers={"origin": origin})
        assert answer.status_code == ORIGINS[origin]
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == ("https://lab.example" if "lab" in origin else None)
        before = http.options("/v1/score", headers={"origin": origin})
        assert (before.status_code == 204) == ("lab" in origin)


def test_the_own_page_behind_a_proxy_with_tls():
    """The proxy passes Host on and speaks plain HTTP to us; a page without TLS is not the page of a
    server that has it."""
    with client(hosts=("rm.example",)) as http:
        for origin, status in (("https://rm.example", 200), ("https://rm.example:444", 403)):
            headers = {"host": "rm.example", "origin": origin}
            answer = http.post("/v1/score", json=BODY, headers=headers)
            assert answer.status_code == status
            assert "access-control-allow-origin" not in answer.headers
        headers = {"host": "rm.example", "origin": "http://rm.example"}
        answer = http.post("https://rm.example/v1/score", json=BODY, headers=headers)
        assert answer.status_code == 403


CONTENT = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
           "application/json, text/plain", "application/jsonx", "",
           "application/json;charset=utf-7", "application/msgpack"]  # fmt: skip


@pytest.mark.parametrize("kind", CONTENT)
def test_only_json_is_read(open_http, kind):
    """A page can send forms and plain text to any server; only JSON is read."""
    answer = open_http.post("/v1/score", content=json.dumps(BODY), headers={"content-type": kind})
    assert refused(answer, 415)["type"] == "unsupported_media_type"


def test_json_in_other_words(open_http):
    """Case, charset and quotes of the content type do not matter; compression is not read."""
    for kind in ("application/json", "Application/JSON; charset=UTF-8", 'application/json; '
                 'charset="utf-8"'):  # fmt: skip
        headers = {"content-type": kind}
        answer = open_http.post("/v1/score", content=json.dumps(BODY), headers=headers)
        assert answer.status_code == 200
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert refused(open_http.post("/v1/score", content=b"x", headers=headers), 415)


def ask(app, headers, parts, *, stall=False):
    """What the app sends for raw headers and body parts: [(status, body)]."""
    messages = [{"type": "http.request", "body": p, "more_body": True} for p in parts]
    if not stall:
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    sent = []

    async def receive():
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    raw = [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers]
    scope = {"type": "http", "method": "POST", "path": "/v1/score", "raw_path": b"/v1/score",
             "query_string": b"", "headers": raw, "scheme": "http", "http_version": "1.1",
             "server": ("localhost", 80), "client": ("localhost", 9), "root_path": ""}  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], json.loads(sent[1]["body"]), dict(sent[0]["headers"]), len(messages)


def make(**settings):
    def score(comparisons):
        return [[0.0] * len(c.replies) for c in comparisons]

    return create_app(score, ServeSettings(**settings), ROUTES)


GOOD = json.dumps(BODY).encode()


def test_a_body_is_counted_as_it_comes():
    """Over the limit a chunked body is refused with 413 at once, the rest unread; so is a length
    that says so before its first byte."""
    status, body, headers, left = ask(make(max_body_bytes=1000), [], [b" " * 400] * 9 + [GOOD])
    assert (status, body["error"]["type"]) == (413, "too_large")
    assert headers[b"connection"] == b"close"
    assert left == 8  # of eleven messages three were taken
    status, _, _, left = ask(make(max_body_bytes=1000), [(b"content-length", b"1001")], [GOOD])
    assert (status, left) == (413, 2)
    assert ask(make(max_body_bytes=len(GOOD)), [], [GOOD])[0] == 200


@pytest.mark.parametrize("length", [b"5", b"-5", b"x", b"5, 5", b"9" * 30, b"\xb2", b"1e3"])
def test_a_length_may_lie(length):
    """A body longer than its Content-Length, or a length that is none, gets 400."""
    status, body, _, _ = ask(make(), [(b"content-length", length)], [GOOD])
    assert status == 400
    assert body["error"]["type"] == "malformed_request"


def test_a_stalled_body_ends():
    """A body that does not come in time gets 408, and the connection is to be closed."""
    status, body, headers, _ = ask(make(body_seconds=0.1), [], [GOOD[:9]], stall=True)
    assert (status, body["error"]["type"]) == (408, "request_timeout")
    assert headers[b"connection"] == b"close"


def test_large_headers():
    """All headers together have a limit."""
    wide = [(b"x-a", b"a" * 40)] * 200
    assert ask(make(max_header_bytes=8000), wide, [GOOD])[0] == 431
    assert ask(make(max_header_bytes=32_000), wide, [GOOD])[0] == 200


def test_a_bug_is_told_without_its_text(caplog):
    """An exception of ours is 500 `internal`; its text is in the log, not in the answer."""

    async def broken(scope, receive, send):
        raise KeyError("the secret prompt")

    status, body, _, _ = ask(Guard(broken, ServeSettings()), [], [GOOD])
    assert (status, body["error"]["type"]) == (500, "internal")
    assert "secret" not in json.dumps(body)
    assert any(record.exc_info for record in caplog.records)


def test_request_ids(open_http):
    """A plain x-request-id is given back; anything else is replaced."""
    assert (
        open_http.get("/health", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    )
    for bad in ("a b", "x" * 65, "<script>", ""):
        found = open_http.get("/health", headers={"x-request-id": bad}).headers["x-request-id"]
        assert found != bad
        assert guard.REQUEST_ID.fullmatch(found)


def test_logs_and_metrics_hold_no_text(caplog):
    """Canaries in prompt, reply, keys, path, query, headers and model are in no log line and no
    metric; what was asked is there in numbers."""
    canary = "kAnArY"
    caplog.set_level(logging.INFO, "worldpm.serve")
    with client(keys=(canary,)) as http:
        headers = {**bearer(canary), "user-agent": canary, "x-other": canary}
        item = {"prompt": canary, "response": canary}
        http.post("/v1/score", json={"items": [item]}, headers=headers)
        http.post("/v1/score", json={"items": [item], "model": canary}, headers=headers)
        http.post("/v1/score", json={"items": [item], canary: 1}, headers=headers)
        http.post(f"/{canary}?{canary}", json={}, headers=headers)
        http.post("/v1/score", json={"items": [item]}, headers=bearer(canary + "x"))
        text = http.get("/metrics", headers=headers).text
    lines = [JsonLines().format(record) for record in caplog.records]
    assert len(lines) == 6
    assert canary not in text + "".join(lines)
    row = json.loads(lines[0])
    assert (row["route"], row["status"], row["items"]) == ("/v1/score", 200, 1)
    assert row["tokens"] == 2 * len(canary)
    assert [json.loads(line)["refused"] for line in lines[1:5]] == [
        "unknown_model", "invalid_request", "not_found", "unauthorized",
    ]  # fmt: skip
    assert 'worldpm_requests_total{route="/v1/score",status="404"} 1.0' in text


def test_loopback_addresses():
    """What may be listened at without a key."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "", "1")))
