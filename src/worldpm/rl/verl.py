"""verl: the `compute_score` of a file that `reward.custom_reward_function.path` names.

    compute_score = verl_compute_score("http://127.0.0.1:8000")   the whole file, with its import

verl does not hand the prompt on: it is taken from `extra_info`, whose row needs a `prompt` (text or
messages) or a `question`. Calls that come together are scored together, by prompt.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from worldpm.errors import DataError, ServiceError
from worldpm.records import ScoreFn
from worldpm.rl.samples import Sample, as_sample, rewards, score_fn

PROMPT_KEYS = ("prompt", "raw_prompt", "question")


def verl_compute_score(
    source: str | Sequence[str] | ScoreFn | None = None, *, gather_seconds: float = 0.005
) -> Callable[..., Coroutine[Any, Any, float]]:
    """An async function of one sample as verl calls it, which returns its score.

    `source` as of `trl_reward`; `gather_seconds` is how long a call waits for others. Raises what
    scoring raises. Where calls that wait together fail, each is tried alone, so that a bad sample
    fails nobody else.
    """
    score = score_fn(source)
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[Sample, asyncio.Future[float]]]] = {}
    tasks: set[asyncio.Task[None]] = set()

    async def compute_score(
        data_source: object,
        solution_str: str,
        ground_truth: object,
        extra_info: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> float:
        sample = as_sample(_prompt(extra_info), solution_str, f"data source {data_source}")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        if loop not in waiting:
            waiting[loop] = []
            task = loop.create_task(_flush(loop))
            tasks.add(task)  # the loop itself holds it weakly
            task.add_done_callback(tasks.discard)
        waiting[loop].append((sample, future))
        return await future

    async def _flush(loop: asyncio.AbstractEventLoop) -> None:
        await asyncio.sleep(gather_seconds)
        asked = waiting.pop(loop)
        try:
            found = await asyncio.to_thread(rewards, score, [sample for sample, _ in asked])
        except Exception as error:
            if len(asked) == 1 or isinstance(error, ServiceError):
                for _, future in asked:
                    _settle(future, error)
                return
            await asyncio.gather(*(_alone(sample, future) for sample, future in asked))
            return
        for (_, future), value in zip(asked, found, strict=True):
            _settle(future, value)

    async def _alone(sample: Sample, future: "asyncio.Future[float]") -> None:
        try:
            _settle(future, (await asyncio.to_thread(rewards, score, [sample]))[0])
        except Exception as error:
            _settle(future, error)

    return compute_score


def _settle(future: "asyncio.Future[float]", outcome: float | Exception) -> None:
    if future.done():  # its caller has left
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _prompt(extra_info: Mapping[str, Any] | None) -> object:
    found = next(
        (extra_info[k] for k in PROMPT_KEYS if extra_info and extra_info.get(k) is not None), None
    )
    if found is None:
        raise DataError(
            f"extra_info has none of {', '.join(PROMPT_KEYS)}: verl does not hand the prompt to a "
            "reward function, so put it there when the data is prepared"
        )
    return found if isinstance(found, str) else [dict(message) for message in found]
