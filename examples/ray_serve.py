"""The server as a Ray Serve application: replicas over a cluster, each with the model of its own.

    pip install "worldpm[model,serve]" "ray[serve]"
    WORLDPM_API_KEY=secret serve run examples.ray_serve:app       or: python examples/ray_serve.py

Replicas of one GPU each: `ray_actor_options={"num_gpus": 1}`. Requests of one prompt are computed
together where they meet, so a client should send the replies to a prompt in one request. On one
machine Ray's dashboard is left off, and all listens on the loopback: Ray's interfaces ask no key.
"""

import os
import time

import ray
from ray import serve


def build():
    """The ASGI app of one replica; runs there, and loads the model there."""
    from worldpm.cli.serving import make_app
    from worldpm.serve.settings import ServeSettings

    keys = tuple(filter(None, [os.environ.get("WORLDPM_API_KEY")]))
    model = os.environ.get("WORLDPM_MODEL")  # a folder or Hugging Face id; None: the default model
    return make_app([model], ServeSettings(keys=keys), dtype="auto", engine="auto", threads=None)


app = serve.deployment(num_replicas=int(os.environ.get("WORLDPM_REPLICAS", "2")))(
    serve.ingress(build)()
).bind()

if __name__ == "__main__":
    ray.init(include_dashboard=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": 8000})
    serve.run(app)
    print("http://127.0.0.1:8000 answers", flush=True)
    while True:
        time.sleep(3600)
