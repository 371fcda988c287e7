"""How far a streaming run is, and when it will be done, from what its own layers took."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

LAST_LAYERS = 3  # what is averaged: enough against noise, few enough to follow a change of speed


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; bytes are of layers' weights, tokens of the whole job in this layer."""

    layers_done: int
    layers: int
    bytes_read: int
    bytes_total: int
    tokens_done: int
    tokens: int
    seconds_left: float | None

    def __str__(self) -> str:
        text = (
            f"layer {min(self.layers_done + 1, self.layers)} of {self.layers}, "
            f"{self.tokens_done:,} of {self.tokens:,} tokens, "
            f"{self.bytes_read / 1e9:.1f} of {self.bytes_total / 1e9:.1f} GB read"
        )
        return text if self.seconds_left is None else f"{text}, {show_seconds(self.seconds_left)}"


def show_seconds(seconds: float) -> str:
    """What is left, to the unit that matters: "2 h 05 min left", "40 s left"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min left"
    return f"{minutes} min {rest:02d} s left" if minutes else f"{rest} s left"


class Forecast:
    """Layers are alike, so the next take as long as the last: the longer of read and compute.

    `costs` are the batches' shares of a layer's work in any unit; they serve only until the first
    layer is through. With `overlap` False (one buffer) a layer is read, then computed.
    """

    def __init__(self, costs: Sequence[float], layers: int, *, overlap: bool = True) -> None:
        self.compute_seconds = 0.0
        self._costs = costs
        self._total = sum(costs)
        self._overlap = overlap
        self._after = layers
        self._done = self._elapsed = self._pack = 0.0
        self._reads: deque[float] = deque(maxlen=LAST_LAYERS)
        self._whole: deque[float] = deque(maxlen=LAST_LAYERS)  # pack and compute of a layer

    def layer_begins(self, read_seconds: float, pack_seconds: float) -> None:
        """The next layer is there: what reading it took, beside or before, and making it."""
        self._after -= 1
        self._reads.append(read_seconds)
        self._done = self._elapsed = 0.0
        self._pack = pack_seconds

    def batch_done(self, batch: int, seconds: float) -> None:
        """A batch went through the current layer."""
        self.compute_seconds += seconds
        self._elapsed += seconds
        self._done += self._costs[batch]
        if batch + 1 == len(self._costs):
            self._whole.append(self._pack + self._elapsed)

    def seconds_left(self) -> float | None:
        """Seconds to the end, None before the first batch."""
        if not self._done:
            return None
        compute = self._pack + self._elapsed * self._total / self._done
        if self._whole:
            compute = sum(self._whole) / len(self._whole)
        read = sum(self._reads) / len(self._reads)
        layer = max(read, compute) if self._overlap else read + compute
        return (1 - self._done / self._total) * compute + self._after * layer
