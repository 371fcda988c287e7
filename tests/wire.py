"""A server in the test's own process, whose score is minus the length of a reply, in eighths."""

from contextlib import contextmanager

from starlette.testclient import TestClient

from worldpm.serve.app import create_app
from worldpm.serve.dialects import ROUTES
from worldpm.serve.settings import ServeSettings


def score(comparisons):
    """A `ScoreFn` that is the same for a reply whatever stands beside it."""
    return [
        [-len("".join(m.content for m in reply)) / 8 for reply in comparison.replies]
        for comparison in comparisons
    ]


def chatml(*contents, end="<|endoftext|>"):
    """Turns in ChatML as WorldPM's template writes them: user, assistant, user, ..."""
    roles = ("user", "assistant") * len(contents)
    turns = (f"<|im_start|>{r}\n{c}<|im_end|>" for r, c in zip(roles, contents, strict=False))
    return "\n".join(["<|im_start|>system\n<|im_end|>", *turns]) + end


@contextmanager
def client(own_score=score, **settings):
    """An HTTP client of such a server."""
    app = create_app(own_score, ServeSettings(**settings), ROUTES)
    with TestClient(app, base_url="http://localhost") as found:
        yield found


def refused(answer, status):
    """The error of an answer, once it has the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "where"}
    assert body["error"]["message"]
    return body["error"]
