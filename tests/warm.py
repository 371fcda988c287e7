"""Commands as typed, without a second of start-up each: a process that has all imported, and forks.

    with warm(folder) as env: subprocess.run(["bash", "-c", "worldpm --version"], env=env)

`folder/bin` gets a `worldpm` that hands its arguments, folder, environment and open files to the
waiting process; a fork of that runs the verb and says how it ended. `worldpm-python FILE` runs a
file the same way. `worldpm serve` is started behind the caller's back, once `--dry-run` accepts
what was typed: on the loopback, at the port $SERVE_PORT, in place of the one started before.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

OTHERS = (
    "torch", "torch._dynamo", "transformers", "pandas", "matplotlib.backends.backend_agg", "rensa",
    "worldpm_kernels",
)  # fmt: skip
SERVE_LOG = ".serve.log"


@contextmanager
def warm(folder: Path):
    """The environment in which `worldpm` is the waiting process."""
    tools = folder / "bin"
    tools.mkdir(parents=True)
    own = tempfile.TemporaryDirectory()  # the name of a socket has to be short
    address = Path(own.name) / "warm"
    for name in ("worldpm", "worldpm-python"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -ISs "{__file__}" {name} "$@"\n')
        tool.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "WARM": str(address),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "log").open("wb") as log:
        waiting = subprocess.Popen(
            [sys.executable, __file__, "wait", str(address)], env=env, stdout=log, stderr=log
        )
    try:
        yield env
    finally:
        waiting.terminate()
        waiting.wait(30)
        own.cleanup()


def wait(address: str) -> None:
    """Import, then fork for everybody who connects."""
    parent = os.getppid()
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(16)
    preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server.settimeout(5)
    while os.getppid() == parent:  # else the tests were killed
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            server.close()
            with connection:
                code = answer(connection)
                connection.sendall(b"%d" % code)
            os._exit(0)
        connection.close()


def preload() -> None:
    """All modules of ours, and the slow ones of others that they import when they need them."""
    import pkgutil

    import worldpm

    ours = (found.name for found in pkgutil.walk_packages(worldpm.__path__, "worldpm."))
    for name in (*OTHERS, *ours):
        if not name.endswith("__main__"):
            with suppress(ImportError):  # of another extra
                importlib.import_module(name)


def answer(connection: socket.socket) -> int:
    """In the fork: take over the caller's place, run what it asks, and return the exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    asked = json.loads(data)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    name, *sys.argv = asked["argv"]
    if sys.argv[:1] == ["serve"] and "--dry-run" not in sys.argv:
        Path(".serve.pid").write_text(str(os.getpid()))
    sys.path[0] = str(Path(sys.argv[0]).parent) if name != "worldpm" else asked["cwd"]
    try:
        if name == "worldpm":
            from worldpm.cli.app import main

            sys.argv.insert(0, name)
            main()
        else:
            import runpy

            runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    return code


def ask(argv: list[str]) -> int:
    """In the caller: its exit code, or 134 if the fork died."""
    connection = socket.socket(socket.AF_UNIX)
    for _ in range(2400):  # the waiting process binds its socket in a moment
        try:
            connection.connect(os.environ["WARM"])
            break
        except OSError:
            time.sleep(0.05)
    asked = {"argv": argv, "cwd": os.getcwd(), "env": dict(os.environ)}
    socket.send_fds(connection, [json.dumps(asked).encode()], [0, 1, 2])
    told = connection.recv(16)
    return int(told) if told else 134


def serve(argv: list[str]) -> int:
    """Check what was typed, start it where nobody else is, and leave it behind once it is ready."""
    import urllib.request

    code = ask([*argv, "--dry-run"])
    if code:
        return code
    stop_server(Path.cwd())
    port = os.environ["SERVE_PORT"]
    log = Path(SERVE_LOG).open("wb")  # noqa: SIM115
    started = subprocess.Popen(
        [sys.executable, "-ISs", __file__, "serving", *argv, "--host", "127.0.0.1", "--port", port],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    headers = {"authorization": f"Bearer {os.environ.get('WORLDPM_API_KEY')}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/ready", headers=headers)
    for _ in range(1200):
        if started.poll() is not None:
            break
        with suppress(OSError), urllib.request.urlopen(request, timeout=5):
            return 0
        time.sleep(0.05)
    sys.stderr.write(Path(SERVE_LOG).read_text())
    return started.returncode or 1


def stop_server(folder: Path) -> None:
    """End the server that was started in a folder, if any."""
    path = folder / ".serve.pid"
    if path.exists():
        number = int(path.read_text())
        path.unlink()
        for _ in range(600):
            try:
                os.kill(number, signal.SIGTERM)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def main() -> int:
    """One of three parts: the one who waits, the caller, or the server's keeper."""
    part, *argv = sys.argv[1:]
    if part == "wait":
        wait(*argv)
    if part == "serving":
        return ask(argv)
    if [part, *argv[:1]] == ["worldpm", "serve"] and not {"--dry-run", "--help"} & set(argv):
        return serve([part, *argv])
    return ask([part, *argv])


if __name__ == "__main__":
    sys.exit(main())
