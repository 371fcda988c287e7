"""vLLM's scores on request, in the Python that has vLLM; `benchmarks/score.py` runs it.

    PYTHON benchmarks/vllm_classify.py --model FOLDER [--prefix-caching]
    {"prompts": [[1, 2, 3], ...]}  ->  {"scores": [0.5, ...], "seconds": 1.5}      a line each

Every request starts with an empty prefix cache, and all its prompts go in one call. `seconds` is
that call alone. The first line out is {"ready": SECONDS, "version": TEXT}.
"""

import argparse
import inspect
import json
import math
import os
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--prefix-caching", action="store_true")
    parser.add_argument("--max-model-len", type=int, default=4096)
    args = parser.parse_args()
    # Its log goes to stdout, from several processes: keep that for ourselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cores = sorted(os.sched_getaffinity(0))
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    started = time.perf_counter()

    import vllm
    from vllm import LLM, PoolingParams

    llm = LLM(
        model=args.model,
        runner="pooling",
        dtype=args.dtype,
        enable_prefix_caching=args.prefix_caching,
        max_model_len=args.max_model_len,
    )
    # The raw score: classify puts a sigmoid over it unless told not to, by a name that changed.
    known = inspect.signature(PoolingParams).parameters
    switch = next((n for n in ("use_activation", "activation") if n in known), None)
    params = PoolingParams(**{switch: False}) if switch else PoolingParams()

    def classify(prompts: list[list[int]]) -> list[float]:
        requests = [{"prompt_token_ids": ids} for ids in prompts]
        found = llm.classify(requests, pooling_params=params, use_tqdm=False)
        return [output.outputs.probs[0] for output in found]

    def say(answer: dict[str, object]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    say({"ready": time.perf_counter() - started, "version": vllm.__version__, "raw": bool(switch)})
    for line in sys.stdin:
        prompts = json.loads(line)["prompts"]
        llm.reset_prefix_cache()
        started = time.perf_counter()
        scores = classify(prompts)
        seconds = time.perf_counter() - started
        if not switch:
            scores = [math.log(p) - math.log1p(-p) for p in scores]
        say({"scores": scores, "seconds": seconds})


if __name__ == "__main__":
    main()
