"""worldpm: forum dump -> comparisons -> training -> scores -> evaluation of preference models.

`load` and `get_score` need the `model` extra; importing this package does not import torch.
"""

from typing import TYPE_CHECKING, Any

from worldpm.records import Comparison, Conversation, Edge, Message, Post, Score, Thread

if TYPE_CHECKING:
    from worldpm.score import Scorer, get_score, load

__version__ = "0.1.0"
__all__ = [
    "Comparison",
    "Conversation",
    "Edge",
    "Message",
    "Post",
    "Score",
    "Scorer",
    "Thread",
    "__version__",
    "get_score",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import the model side on first use, so that `import worldpm` stays light."""
    if name in {"Scorer", "get_score", "load"}:
        from worldpm import score

        return getattr(score, name)
    raise AttributeError(f"module 'worldpm' has no attribute {name!r}")
