"""A checkpoint and what is known of its making -> the README.md of a model, as hubs read it.

    model_card(Facts(name="mine", checkpoint=inspect_model(folder), ...))  ->  Markdown

What nobody stated is said to be unstated. The failures are not written by hand: they are the groups
of the evaluation in which the model does not beat the longer answer, and what its style says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worldpm.report.markdown import code, escaped, table
from worldpm.report.sureness import sure_sign

Json = Mapping[str, Any]
LONGER = "longer (characters)"

_LOADING = {
    "Qwen2ForRewardModel": """\
vLLM and SGLang read this folder as `Qwen2ForRewardModel`; take the score of the **last** token. In
plain transformers `AutoModel` drops the head without a word: use `worldpm` there.""",
    "": """\
```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(FOLDER, dtype="float32").eval()
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
text = tokenizer.apply_chat_template(
    [{"role": "system", "content": ""}, *messages], tokenize=False
)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
score = model(**ids).logits[0, 0]
```

vLLM and SGLang read the same folder by its architecture. The system message is always there, if
only an empty one; many templates write one of their own where it is missing.""",
}
_LIMITS = (
    "scores compare replies to the same prompt; across prompts they mean nothing",
    "a policy trained against it will find what it likes too much: watch length, and stop early",
    "what is preferred is what the people of its data preferred: no claim that it is true or safe",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card is made of; whatever is not known is left out.

    `checkpoint` is what `inspect_model` finds; `run` a run's run.json; `steps` and `validations`
    the records of its metrics.jsonl; `data` the manifests of its data by folder name, each with
    "licenses"; `report` the report.json of `worldpm eval`, of which the first model is taken.
    """

    name: str
    checkpoint: Json
    base_model: str | None = None
    license: str | None = None
    run: Json | None = None
    steps: Sequence[Json] = ()
    validations: Sequence[Json] = ()
    data: Mapping[str, Json] = field(default_factory=dict)
    report: Json | None = None


def model_card(facts: Facts) -> str:
    """The card in Markdown."""
    parts = [
        _header(facts),
        f"# {escaped(facts.name)}",
        "A preference model: a conversation in, one score out; of two replies to a prompt it "
        "prefers the one with the higher score, with probability sigmoid(difference).",
        _checkpoint(facts.checkpoint, facts.base_model),
        "## Use",
        _use(facts.checkpoint),
        "## Training data",
        _data(facts),
        "## Training",
        _training(facts),
        "## Held-out results",
        _results(_evaluations(facts.report)),
        _beside(facts.report),
        "## Style",
        _style(_evaluations(facts.report)),
        "## Known failures",
        "\n".join(f"- {text};" for text in (*failures(_evaluations(facts.report)), *_LIMITS)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(facts: Facts) -> str:
    import orjson

    def quoted(text: str) -> str:
        return orjson.dumps(text).decode()

    lines = ["---"]
    lines += [f"license: {quoted(facts.license)}"] if facts.license else ["license: other"]
    lines += [f"base_model: {quoted(facts.base_model)}"] if facts.base_model else []
    lines += [
        "library_name: transformers", "pipeline_tag: text-classification",
        "tags:", "- reward-model", "- preference", "- worldpm", "---",
    ]  # fmt: skip
    return "\n".join(lines)


def _checkpoint(found: Json, base_model: str | None) -> str:
    dtypes = ", ".join(f"{count:,} in {name}" for name, count in found["dtypes"].items())
    shape = found["shape"]
    rows = [
        ("base", escaped(base_model) if base_model else "unstated"),
        ("architecture", escaped(", ".join(found["architectures"]))),
        ("head", escaped(str(found["head"]))),
        (
            "parameters",
            f"{found['num_parameters']:,} ({dtypes}), "
            f"{found['num_parameters_without_embeddings']:,} without embeddings",
        ),
        ("context", f"{shape['max_position_embeddings']:,} tokens"),
        ("scored token", f"{escaped(found['scored_token'])}, the last one; id "
         f"{found['scored_token_id']}, never the pad"),
        ("template", f"SHA-256 begins {code(str(found['template_sha256'])[:16])}"),
    ]  # fmt: skip
    return table(("", ""), rows)


def _use(found: Json) -> str:
    architecture = next(iter(found["architectures"]), "")
    return "\n\n".join(
        [
            "```sh\nworldpm score conversations.jsonl --model FOLDER\n"
            "worldpm model doctor FOLDER\n```",
            _LOADING.get(architecture, _LOADING[""]),
            "`worldpm.json` is the contract: golden conversations with their scores, by which "
            "`worldpm model doctor` tells whether the model still scores as it did here.",
        ]
    )


def _data(facts: Facts) -> str:
    if not facts.data:
        known = (facts.checkpoint.get("contract") or {}).get("training_data")
        if known:
            return f"{len(known)} sets, known here by the digests in `worldpm.json` alone."
        return "Not stated."
    rows = [
        (
            escaped(name),
            f"{manifest.get('counts', {}).get('train', 0):,}",
            f"{sum(manifest.get('dropped', {}).values()):,}",
            escaped(", ".join(manifest.get("licenses", [])) or "unstated"),
            escaped(str(manifest.get("published", {}).get("url") or "")),
        )
        for name, manifest in facts.data.items()
    ]
    header = ("set", "comparisons to train on", "left out in making it", "licence", "from")
    return table(header, rows)


def _training(facts: Facts) -> str:
    if facts.run is None:
        return "Not stated."
    recipe = facts.run["recipe"]
    rows = [(code(f"{group}.{key}" if isinstance(values, Mapping) else group), code(str(value)))
            for group, values in recipe.items() if group != "parallel"
            for key, value in (values.items() if isinstance(values, Mapping)
                               else [(group, values)])]  # fmt: skip
    return "\n\n".join([_compute(facts), table(("setting", "value"), rows)])


def training_flops(checkpoint: Json, recipe: Json, tokens: int) -> float:
    """Floating-point operations of a run, attention's own left out.

    2 N T of the forward pass, and of the trained layers 2 N T more for the gradient of activations
    and, unless their weights stay as they are (LoRA), another 2 N T for that of the weights
    (Kaplan et al. 2020, section 2.1). N has no embeddings; frozen layers' outputs that a second
    epoch takes from memory are counted again, so it is an upper bound.
    """
    count = checkpoint["num_parameters_without_embeddings"]
    layers = checkpoint["shape"]["num_hidden_layers"]
    trained = (layers - recipe["model"]["frozen_layers"]) / layers
    backward = 2 if recipe["lora"]["rank"] else 4
    return float(count * tokens * (2 + backward * trained))


def _compute(facts: Facts) -> str:
    assert facts.run is not None
    if not facts.steps:
        return "Of its course nothing is recorded."
    last = facts.steps[-1]
    flops = training_flops(facts.checkpoint, facts.run["recipe"], last["tokens"])
    words = (
        f"{last['step']:,} steps, {last['pairs']:,.0f} pairs, {last['tokens']:,} tokens, "
        f"{last['seconds'] / 3600:.2f} hours; {flops:.2g} floating-point operations at most. "
        f"{last['skipped_steps']:,} steps were skipped because they were not finite."
    )
    looks = [look for look in facts.validations if look["validation_loss_nats"] is not None]
    if looks:
        best, end = min(looks, key=lambda look: look["validation_loss_nats"]), looks[-1]
        words += (
            f" Validation: loss {end['validation_loss_nats']:.4f} nats and accuracy "
            f"{end['validation_accuracy']:.3f} at the end; the lowest loss was "
            f"{best['validation_loss_nats']:.4f}, at step {best['step']:,}."
        )
    return words


def _evaluations(report: Json | None) -> list[Json]:
    """Those of the report's first model."""
    if report is None:
        return []
    return [e for e in report["evaluations"] if e["model"] == report["models"][0]]


def _lines(evaluations: Sequence[Json]) -> list[tuple[str, Json]]:
    """(name, line) of every set and of its classes and sections."""
    return [
        (name if line["kind"] == "all" else f"{name}: {line['outcome']['name']}", line)
        for name, each in ((each["suite"], each) for each in evaluations)
        for line in each["lines"]
        if line["kind"] in ("all", "class", "section")
    ]


def _results(evaluations: Sequence[Json]) -> str:
    if not evaluations:
        return "None are stated. `worldpm eval -m FOLDER -o OUT` measures them."
    rows = []
    for name, line in _lines(evaluations):
        outcome, gain = line["outcome"], line["over_length"]
        rows.append(
            (
                escaped(name),
                f"{outcome['num_comparisons']:,}",
                f"{outcome['accuracy']:.3f} {_range(outcome['accuracy_interval'])}",
                f"{outcome['loss_nats']:.3f} {_range(outcome['loss_interval'])}",
                f"{line['floors'][LONGER]['accuracy']:.3f}",
                f"{gain['value']:+.3f} {_range(gain['interval'], '+.3f')}",
            )
        )
    header = ("set", "prompts", "accuracy", "loss, nats", "longer is better", "ahead of longer")
    return "\n\n".join(
        [
            table(header, rows),
            "Intervals are of 95 %: by bootstrap over prompts, or Wilson's where the accuracy is "
            "a plain proportion, one pair a prompt and no tie; a tie is one half.",
        ]
    )


def _beside(report: Json | None) -> str:
    """The report's first model less each other one, on whole sets; nothing without another."""
    rows = [
        (
            escaped(each["b"]),
            escaped(each["suite"]),
            f"{each['accuracy']['value']:+.3f} {_range(each['accuracy']['interval'], '+.3f')}",
            f"{each['accuracy']['p_value']:.4f}",
            f"{each['loss']['value']:+.3f} {_range(each['loss']['interval'], '+.3f')}",
        )
        for each in (report or {}).get("contrasts", ())
        if each["kind"] == "all" and each["a"] == (report or {})["models"][0]
    ]
    header = ("less the model", "set", "accuracy", "p", "loss, nats")
    return table(header, rows)


def _range(ends: Sequence[float], form: str = ".3f") -> str:
    return f"[{format(ends[0], form)}, {format(ends[1], form)}]"


def _style(evaluations: Sequence[Json]) -> str:
    rows = []
    for name, line in _lines(evaluations):
        style = line["style"]
        if line["kind"] == "all" and style:
            rows.append(
                (
                    escaped(name),
                    *(_number(style[of].get(mark), "+.2f") for mark in ("length", "marks")
                      for of in ("phi_predicted", "phi_labels")),
                    _number(style["chosen_longer_accuracy"], ".3f"),
                    _number(style["chosen_shorter_accuracy"], ".3f"),
                    f"{style['controlled']['held_out_accuracy']:.3f}",
                )
            )  # fmt: skip
    header = ("set", "phi length, model", "people", "phi marks, model", "people",
              "accuracy, longer chosen", "shorter chosen", "style-controlled")  # fmt: skip
    return table(header, rows) or "Not measured."


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def failures(evaluations: Sequence[Json]) -> list[str]:
    """Where the evaluation says that the model fails, each as half a sentence.

    A group in which it is below chance for sure, or not surely ahead of taking the longer reply;
    and a set on which it finds the shorter reply, where people chose that, less often than a coin.
    """
    found = []
    for name, line in _lines(evaluations):
        outcome, gain = line["outcome"], line["over_length"]
        if outcome["accuracy_interval"][1] < 0.5:
            found.append(f"worse than a coin on {escaped(name)}: {outcome['accuracy']:.3f}")
        elif sure_sign(gain) <= 0:
            found.append(
                f"not surely better than taking the longer reply on {escaped(name)}: "
                f"{gain['value']:+.3f} {_range(gain['interval'], '+.3f')}"
            )
        shorter = (line["style"] or {}).get("chosen_shorter_accuracy")
        if line["kind"] == "all" and shorter is not None and shorter < 0.5:
            found.append(
                f"drawn to length on {escaped(name)}: where people chose the shorter reply, it "
                f"agrees in {shorter:.3f} of the pairs"
            )
    return found
