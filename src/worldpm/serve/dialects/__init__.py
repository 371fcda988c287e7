"""WIRE FORMS -> COMPARISONS, SCORES -> WIRE FORMS: what other engines' and trainers' clients speak.

`ROUTES` are all of them, ours first. Where two forms share a path, the keys of the body decide:

    /classify   {"text"} is SGLang's, {"input"} and {"messages"} vLLM's
    /rerank     {"texts"} is TEI's, {"documents"} vLLM's, Cohere's and Jina's
    /v1/score   {"items"} is ours, {"queries"}, {"text_1"} and {"data_1"} vLLM's
    /v1/rerank  answers as vLLM, Cohere and Jina do; SGLang's bare list is not spoken
"""

from worldpm.serve.dialects import sglang, tei, trainers, vllm
from worldpm.serve.own import OWN
from worldpm.serve.route import Route

DIALECTS: dict[str, tuple[Route, ...]] = {
    "ours": OWN,
    "vLLM, Cohere, Jina": vllm.ROUTES,
    "SGLang, OpenAI": sglang.ROUTES,
    "TEI": tei.ROUTES,
    "trainers": trainers.ROUTES,
}
ROUTES: tuple[Route, ...] = tuple(route for routes in DIALECTS.values() for route in routes)
