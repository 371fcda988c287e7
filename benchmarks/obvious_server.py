"""The obvious server that ours is measured beside: FastAPI, transformers, uvicorn.

    python benchmarks/obvious_server.py MODEL PORT THREADS

A request is scored when it comes, padded to its own longest conversation, one request at a time:
without the lock its forwards would take the processors from each other, which is slower.
"""

import sys
import threading

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Item(BaseModel):
    """A conversation."""

    prompt: str
    response: str


class Body(BaseModel):
    """A request."""

    items: list[Item]


def make_app(folder: str) -> FastAPI:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, num_labels=1
    ).eval()
    pad = model.config.pad_token_id or 0
    lock = threading.Lock()
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/score")
    def score(body: Body) -> dict[str, list[dict[str, float]]]:
        rows = []
        for item in body.items:
            messages = [
                {"role": "system", "content": ""},
                {"role": "user", "content": item.prompt},
                {"role": "assistant", "content": item.response},
            ]
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            rows.append(tokenizer.encode(text, add_special_tokens=False))
        longest = max(map(len, rows))
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        with lock, torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits
        return {"data": [{"score": float(value)} for value in logits[:, 0]]}

    return app


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), log_level="error")
