"""Published clients, unchanged, against the server as it ships: what they make of its answers.

OpenRLHF and verl need a GPU to be installed whole; their reward clients do not. To run those two:
`pip install --no-deps --target DIR openrlhf verl`, with DIR and what they import on PYTHONPATH.
"""

import asyncio
import base64
import struct
from types import SimpleNamespace

import pytest
import torch
from live import live
from tiny import tiny_tokenizer
from transformers import AutoTokenizer
from wire import chatml

REPLIES = ["Because.", "So.", "It just is that way, and nobody knows more."]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tmp_path_factory.mktemp("clients")) as found:
        yield found


def test_openai_embeddings(server):
    """OpenAI's client reads the score as a vector of one number, whole as float, else float32."""
    openai = pytest.importorskip("openai")
    url = f"http://127.0.0.1:{server.port}/v1"
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    texts = [chatml("Why?", reply) for reply in REPLIES]
    for form in ("float", "base64", openai.NOT_GIVEN):
        found = client.embeddings.create(model="model", input=texts, encoding_format=form)
        values = [
            each.embedding if form != "base64" else unpacked(each.embedding) for each in found.data
        ]
        assert values == [[-float(len(reply))] for reply in REPLIES]
        assert [each.index for each in found.data] == [0, 1, 2]
        assert found.usage.prompt_tokens > 0
    with pytest.raises(openai.UnprocessableEntityError, match="begins with none of"):
        client.embeddings.create(model="model", input="plain text")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="gpt", input=texts)


def unpacked(text):
    return list(struct.unpack("<f", base64.b64decode(text)))


def test_cohere_rerank(server):
    """Cohere's client ranks the replies, best first, by both of its versions of the route."""
    cohere = pytest.importorskip("cohere")
    url = f"http://127.0.0.1:{server.port}"
    client = cohere.ClientV2(api_key="none", base_url=url)
    found = client.rerank(model="model", query="Why?", documents=REPLIES)
    assert [(each.index, each.relevance_score) for each in found.results] == [
        (1, -3.0), (0, -8.0), (2, -43.0)
    ]  # fmt: skip
    assert len(client.rerank(model="model", query="Why?", documents=REPLIES, top_n=1).results) == 1
    first = cohere.Client(api_key="none", base_url=url)
    found = first.rerank(model="model", query="Why?", documents=REPLIES, return_documents=True)
    assert [each.document.text for each in found.results] == [REPLIES[i] for i in (1, 0, 2)]


def test_openrlhf_client(server):
    """OpenRLHF's own executor gets the reward of its sample from /get_reward and from a file."""
    agent = pytest.importorskip("openrlhf.utils.agent", exc_type=ImportError)
    prompt = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    url = f"http://127.0.0.1:{server.port}/get_reward"
    executor = agent.SingleTurnAgentExecutor([url, url])
    queries = [f"{prompt}{reply}<|im_end|>" for reply in REPLIES]
    answers = asyncio.run(executor._fetch_rewards_via_http(queries, [prompt] * 3, ["a", "b", None]))
    assert [x for each in answers for x in each["rewards"]] == [-8.0, -3.0, -43.0]

    class Tokenizer:
        """Characters as tokens."""

        def __call__(self, text, **kwargs):
            return {"input_ids": torch.tensor([list(map(ord, text))])}

        def decode(self, ids, **kwargs):
            return "".join(map(chr, ids))

    class Engine:
        async def generate(self, ids, params, **kwargs):
            made = list(map(ord, "So.<|im_end|>"))
            output = SimpleNamespace(token_ids=made, finish_reason="stop", logprobs=None)
            return SimpleNamespace(outputs=[output])

    def run(endpoint):
        executor = agent.SingleTurnAgentExecutor(endpoint)
        params = SimpleNamespace(max_tokens=64, logprobs=None)
        return asyncio.run(executor.execute(prompt, "42", params, 4096, Tokenizer(), Engine()))

    assert run(url)["reward"] == run(url)["scores"] == [-3.0]
    file = server.log.parent / "reward.py"
    file.write_text(
        "from worldpm.rl import openrlhf_reward\n"
        f"reward_func = openrlhf_reward('http://127.0.0.1:{server.port}')\n"
    )
    assert run(str(file))["reward"] == [-3.0]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_verl_router_client(server, engine, tmp_path):
    """verl's own reward loop renders, asks in both forms of its router, and reads the score."""
    loop = pytest.importorskip("verl.experimental.reward_loop.reward_loop", exc_type=ImportError)
    worker = object.__new__(loop.RewardLoopWorker)
    worker.reward_router_address = f"127.0.0.1:{server.port}"
    rollout = SimpleNamespace(name=engine)
    model = SimpleNamespace(rollout=rollout, model_path="model")
    worker.config = SimpleNamespace(reward=SimpleNamespace(reward_model=model))

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer(tmp_path / "tokenizer"))
    worker.input_tokenizer = worker.reward_model_tokenizer = tokenizer
    found = []
    for reply in REPLIES:
        ids = torch.tensor(tokenizer.encode(reply, add_special_tokens=False))
        item = SimpleNamespace(
            non_tensor_batch={"raw_prompt": [{"role": "user", "content": "Why?"}]},
            batch={"responses": ids, "attention_mask": torch.ones(4 + len(ids), dtype=torch.long)},
        )
        found.append(asyncio.run(worker.compute_score_disrm([item])))
    assert [each["reward_score"] for each in found] == [-8.0, -3.0, -43.0]


def test_verl_custom_function(server, tmp_path):
    """verl's own loader finds the function of a file, and its manager gets a float of it."""
    reward = pytest.importorskip("verl.trainer.ppo.reward", exc_type=ImportError)
    omegaconf = pytest.importorskip("omegaconf")
    file = tmp_path / "reward.py"
    file.write_text(
        "from worldpm.rl import verl_compute_score\n"
        f"compute_score = verl_compute_score('http://127.0.0.1:{server.port}')\n"
    )
    config = {"reward": {"custom_reward_function": {"path": str(file), "name": "compute_score"}}}
    compute_score = reward.get_custom_reward_fn(omegaconf.OmegaConf.create(config))

    async def all_of():
        return await asyncio.gather(*(
            compute_score(data_source="d", solution_str=reply, ground_truth="",
                          extra_info={"prompt": [{"role": "user", "content": "Why?"}]})
            for reply in REPLIES
        ))  # fmt: skip

    assert asyncio.run(all_of()) == [-8.0, -3.0, -43.0]
