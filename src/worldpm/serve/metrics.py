"""Prometheus' counters of one server; each worker process has its own.

metrics.on_request("/v1/score", 200, 0.012)
metrics.on_batch(jobs=8, tokens=3000, seconds=1.1)
"""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from worldpm.serve.app import Server

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters, in a registry of their own, so that one process can hold several servers."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "worldpm_requests", "Requests by route and status.", ["route", "status"], registry=own
        )
        self.seconds = Histogram(
            "worldpm_request_seconds", "Time to the end of the answer.", ["route"],
            buckets=SECONDS, registry=own,
        )  # fmt: skip
        self.batches = Counter("worldpm_batches", "Batches computed.", registry=own)
        self.jobs = Counter("worldpm_comparisons", "Comparisons computed.", registry=own)
        self.tokens = Counter("worldpm_tokens", "Tokens computed.", registry=own)
        self.compute = Counter("worldpm_compute_seconds", "Time spent computing.", registry=own)
        self.gone = Counter(
            "worldpm_clients_gone", "Requests whose client left before the answer.", registry=own
        )
        self.queued = Gauge("worldpm_queued_tokens", "Tokens that wait.", registry=own)
        self.active = Gauge("worldpm_active_requests", "Requests under way.", registry=own)
        self.dropped = Gauge(
            "worldpm_dropped_comparisons", "Comparisons that left the queue uncomputed.",
            registry=own,
        )  # fmt: skip

    def watch(self, server: "Server") -> None:
        """Read the gauges off a server whenever they are asked for."""
        self.queued.set_function(lambda: sum(b.queued_tokens for b in server.batchers.values()))
        self.dropped.set_function(lambda: sum(b.num_dropped for b in server.batchers.values()))
        self.active.set_function(lambda: server.active)

    def on_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def on_batch(self, jobs: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self.batches.inc()
        self.jobs.inc(jobs)
        self.tokens.inc(tokens)
        self.compute.inc(seconds)

    def render(self) -> tuple[bytes, str]:
        """The text and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
