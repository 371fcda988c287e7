"""TRL: a reward function for `GRPOTrainer`, `RLOOTrainer` and whatever takes `reward_funcs`.

GRPOTrainer(model=policy, reward_funcs=trl_reward("http://127.0.0.1:8000"), ...)
"""

from collections.abc import Callable, Sequence
from typing import Any

from worldpm.errors import DataError
from worldpm.records import ScoreFn
from worldpm.rl.samples import OnError, Sample, as_sample, either, score_fn, warn


def trl_reward(
    source: str | Sequence[str] | ScoreFn | None = None, *, on_error: OnError = "raise"
) -> Callable[..., list[float | None]]:
    """A function of prompts and completions, text or messages, that returns a reward for each.

    `source` is an address, several, a `ScoreFn`, or None for WORLDPM_URL. What cannot be scored
    raises, or with `on_error="abstain"` gets None, which TRL leaves out of the group.
    """
    score, work = score_fn(source), either(on_error)

    def worldpm_reward(
        prompts: Sequence[object], completions: Sequence[object], **kwargs: Any
    ) -> list[float | None]:
        samples: list[Sample | None] = []
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            try:
                samples.append(as_sample(prompt, completion, f"sample {i}"))
            except DataError as error:
                if on_error == "raise":
                    raise
                warn(error, 1)
                samples.append(None)
        found = iter(work(score, [sample for sample in samples if sample is not None]))
        return [None if sample is None else next(found) for sample in samples]

    return worldpm_reward
