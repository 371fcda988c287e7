"""OpenRLHF: the `reward_func` of a file that `--reward.remote_url FILE.py` names.

    reward_func = openrlhf_reward("http://127.0.0.1:8000")        the whole file, with its import

OpenRLHF can also ask the server itself: `--reward.remote_url http://127.0.0.1:8000/get_reward`.
Queries are rendered by the policy's template; they are read as that route reads them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from worldpm.records import ScoreFn
from worldpm.rendered import read_rendered, read_sample
from worldpm.rl.samples import Sample, rewards, score_fn


def openrlhf_reward(
    source: str | Sequence[str] | ScoreFn | None = None,
) -> Callable[..., dict[str, Any]]:
    """A function of queries, prompts and labels -> {"rewards", "scores", "extra_logs"}.

    `source` as of `trl_reward`. Raises what scoring raises; OpenRLHF logs that, and the sample
    stays without a reward.
    """
    score = score_fn(source)

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: object, **kwargs: Any
    ) -> dict[str, Any]:
        samples = [_sample(q, p) for q, p in zip(queries, prompts, strict=True)]
        found = rewards(score, samples)
        return {"rewards": found, "scores": found, "extra_logs": {}}

    return reward_func


def _sample(query: str, prompt: str) -> Sample:
    if prompt and query.startswith(prompt):
        return read_sample(prompt, query[len(prompt) :])
    messages = read_rendered(query)  # a tokenizer rewrote the prompt
    return messages[:-1], messages[-1:]
