"""`worldpm serve`: keys, addresses, settings, and a checkpoint behind a real socket."""

import os
import signal
import socket
import subprocess
import sys
from functools import partial

import pytest
from live import Live, free_port, wait_ready
from starlette.testclient import TestClient
from tiny import small_model

from worldpm.cli.serving import KEY_VARIABLE, make_app
from worldpm.errors import ConfigError
from worldpm.model.checkpoint import weight_files
from worldpm.model.fingerprint import weights_sha256
from worldpm.score import load
from worldpm.serve.settings import ServeSettings
from worldpm.serve.signing import check


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_no_key_no_other_machine(worldpm, host):
    """Listening where other machines can reach is refused without a key: exit code 2."""
    ended = worldpm("serve", "--host", host)
    assert ended.code == 2
    assert KEY_VARIABLE in ended.err


def test_a_key_opens_other_addresses(worldpm, monkeypatch, tmp_path):
    """With a key from the environment or a file any address will do, and the key is not told."""
    monkeypatch.setenv(KEY_VARIABLE, "hidden-one")
    found = worldpm("serve", "--host", "0.0.0.0", "--dry-run", "--json")
    assert (found.code, found.json["key"]) == (0, True)
    monkeypatch.delenv(KEY_VARIABLE)
    path = tmp_path / "keys"
    path.write_text("hidden-two\n\nhidden-three\n")
    text = worldpm("serve", "--host", "0.0.0.0", "--dry-run", "--key-file", path)
    assert text.code == 0
    assert "hidden" not in found.out + found.err + text.out + text.err


@pytest.mark.parametrize("content", ["", "\n\n", "two words\n", "schlüssel\n", "a\x07b\n", None])
def test_bad_key_files(worldpm, tmp_path, content):
    """A file without a key, or with one that no header can hold, is refused; nothing of it is
    shown."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    ended = worldpm("serve", "--key-file", path, "--dry-run")
    assert ended.code == 1
    assert "error: " in ended.err
    assert "schl" not in ended.err


def test_a_file_of_one_key_beside_a_blank_variable(worldpm, monkeypatch, tmp_path):
    """A variable of spaces alone holds no key, and takes nothing from the file."""
    monkeypatch.setenv(KEY_VARIABLE, " ")
    path = tmp_path / "keys"
    path.write_text("sesame\n")
    found = worldpm("serve", "--host", "0.0.0.0", "--key-file", path, "--dry-run", "--json")
    assert (found.code, found.json["key"]) == (0, True)
    monkeypatch.setenv(KEY_VARIABLE, "open")
    path.write_text("\n")
    assert "holds no key" in worldpm("serve", "--key-file", path, "--dry-run").err


def test_numbers_below_one(worldpm):
    """No threads, and no tokens of a conversation, are an error as of `score`, not all of them."""
    for given, said in (
        ("--threads=0", "threads 0 is below 1"),
        ("--set=max_tokens=0", "max_tokens: "),
    ):
        ended = worldpm("serve", "--dry-run", given)
        assert (ended.code, said in ended.err) == (1, True)
    assert worldpm("serve", "--dry-run", "--threads", "1").code == 0


@pytest.mark.parametrize("key", ["", " ", "two words", "schlüssel"], ids=range(4))
def test_bad_keys_in_settings(worldpm, tmp_path, key):
    """As in a file of keys; an empty one, of a variable that is not set, would let in everybody."""
    path = tmp_path / "serve.toml"
    path.write_text(f'keys = ["{key}"]', encoding="utf-8")
    for given in (("--config", path), ("--set", f'keys=["{key}"]')):
        ended = worldpm("serve", "--host", "0.0.0.0", "--dry-run", *given)
        assert (ended.code, "keys: " in ended.err) == (1, True)
        assert "schl" not in ended.err


@pytest.fixture
def no_server(monkeypatch):
    monkeypatch.setattr("worldpm.serve.run.Granian", lambda *_, **__: pytest.fail("it would serve"))


@pytest.mark.usefixtures("no_server")
def test_a_port_that_is_taken(worldpm):
    """Beside a server that shares its port, as ours does, another would get half of its requests:
    it is refused, whatever name the address has."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            ended = worldpm("serve", "-m", "none", "--host", host, "--port", port, "-q")
            assert ended.code == 1
            assert f"127.0.0.1, port {port}: cannot be listened at" in ended.err


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize("host", ["example.invalid", "127.0.0.1.", "203.0.113.7"])
def test_no_address_of_this_machine(worldpm, monkeypatch, host):
    """What cannot be listened at is one message, not a traceback of the server's."""
    monkeypatch.setenv(KEY_VARIABLE, "key")
    ended = worldpm("serve", "-m", "none", "--host", host, "--port", free_port(), "-q")
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


def test_signing_keys(worldpm, tmp_path):
    """A plan says whether answers are signed; a key that is too short or not there is refused, and
    nothing of it is shown."""
    path = tmp_path / "sign.key"
    path.write_bytes(b"hidden" * 6)
    found = worldpm("serve", "--sign-key", path, "--dry-run", "--json")
    assert (found.code, found.json["signed"]) == (0, True)
    assert worldpm("serve", "--dry-run", "--json").json["signed"] is False
    path.write_bytes(b"hidden")
    short = worldpm("serve", "--sign-key", path, "--dry-run")
    assert (short.code, "at least 32" in short.err) == (1, True)
    missing = worldpm("serve", "--sign-key", tmp_path / "none", "--dry-run")
    assert (missing.code, "cannot be read" in missing.err) == (1, True)
    shown = "".join(each.out + each.err for each in (found, short, missing))
    assert "hidden" not in shown


def test_settings_from_file_and_flags(worldpm, tmp_path):
    """--set goes over --config, and a wrong name is told its nearest."""
    path = tmp_path / "serve.toml"
    path.write_text('max_items = 7\nmax_chars = 99\nhosts = ["rm.example"]\n')
    found = worldpm("serve", "--config", path, "--set", "max_items=8", "--dry-run", "--json")
    limits = found.json["limits"]
    assert (limits["max_items"], limits["max_chars"]) == (8, 99)
    assert limits["hosts"] == ["rm.example"]
    wrong = worldpm("serve", "--set", "max_item=8", "--dry-run")
    assert (wrong.code, "max_items" in wrong.err) == (1, True)
    text = worldpm("serve", "--config", path, "--dry-run")
    assert "max_items = 7" in text.out


def start(tmp_path, *arguments):
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "worldpm", "serve", "--port", str(port), *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    return Live(port, process, log)


def test_models_of_two_runs(tmp_path):
    """Every run calls its model the same; they are served as RUN/model, one given twice is not."""
    runs = [str(small_model(tmp_path / run / "model")) for run in "xy"]
    make = partial(make_app, settings=ServeSettings(), dtype="float32", engine="auto", threads=1)
    with TestClient(make(runs), base_url="http://127.0.0.1") as client:
        listed = client.get("/v1/models").json()["data"]
    assert [each["id"] for each in listed] == ["x/model", "y/model"]
    with pytest.raises(ConfigError, match="called the same: x/model, x/model"):
        make([runs[0], runs[0]])


def test_a_checkpoint_over_a_socket(tmp_path):
    """A server of a checkpoint gives `Scorer`'s doubles, signed with the checkpoint's digest, wants
    its key, and ends by SIGINT with 0; no key is in its log."""
    folder = small_model(tmp_path / "small")
    texts = ["alpha", "beta gamma", "", "日本 <|im_end|>"]
    expected = [s.value for s in load(folder, dtype="float32").rank("why", texts).scores]
    keys = tmp_path / "keys"
    keys.write_text("sesame\n")
    sign_key = tmp_path / "sign.key"
    sign_key.write_bytes(b"secret" * 6)
    server = start(tmp_path, "-m", str(folder), "--dtype", "float32", "--key-file", str(keys),
                   "--sign-key", str(sign_key))  # fmt: skip
    try:
        wait_ready(server, {"keys": ["sesame"]})
        body = {"prompt": "why", "responses": texts}
        assert server.ask("/v1/compare", body)[0] == 401
        key = {"authorization": "Bearer sesame"}
        status, answer = server.ask("/v1/compare", body, key)
        assert (status, answer["scores"], answer["model"]) == (200, expected, "small")
        assert check(answer, body, sign_key.read_bytes())
        digest = weights_sha256(weight_files(folder))
        assert answer["signature"]["model"] == {"name": "small", "digest": digest}
        assert server.stop(signal.SIGINT) == 0
    finally:
        server.process.kill()
    log = server.log.read_text()
    assert "sesame" not in log
    assert "secret" not in log


def test_a_model_that_cannot_be_loaded(tmp_path):
    """One message, once, and exit code 1; the worker is not started again and again."""
    server = start(tmp_path, "-q", "-m", os.fspath(tmp_path / "nothing"))
    assert server.process.wait(150) == 1
    text = server.log.read_text()
    assert text.startswith("error: ")
    assert text.count("\n") == 1
