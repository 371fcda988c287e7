"""Chat templates: found where a checkpoint keeps them, and rendered as transformers does."""

import hashlib
import json
import subprocess
import sys

import pytest
from qwen_tokenizer import CHATML_TEMPLATE

from worldpm.errors import CheckpointError
from worldpm.tokens.template import MAX_TEMPLATE_BYTES, WORLDPM_TEMPLATE, ChatTemplate

SYSTEM = {"role": "system", "content": ""}
USER = {"role": "user", "content": " Why? <b>&\n"}
ASSISTANT = {"role": "assistant", "content": 'It\'s "so", 你好 🙂\r\n'}
LLAMA_TEMPLATE = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message.content is string %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
"""
TEMPLATES = {
    "worldpm": WORLDPM_TEMPLATE,
    "chatml": CHATML_TEMPLATE,
    "llama": LLAMA_TEMPLATE,
    "blocks": """\
{% for m in messages %}
  {% if m.role %}
 {{ m.content }}
 {% endif %}
{% endfor %}
""",
    "tojson": "{{ messages | tojson }}{{ messages | tojson(indent=2) }}"
    "{{ messages | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}",
    "loop": "{% for m in messages %}{% if loop.index > 2 %}{% break %}{% endif %}-{% endfor %}",
    "generation": """\
{% for m in messages %}
{% generation %}
  {{ m.content }}
  {% endgeneration %}
{% endfor %}
""",
    "namespace": "{% set n = namespace(i=0) %}{% for m in messages %}{% set n.i = n.i + 1 %}"
    "{% endfor %}{{ n.i }}",
    "absent": "[{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ missing }}]",
}


def write(folder, config=None, jinja=None):
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    if jinja is not None:
        (folder / "chat_template.jinja").write_text(jinja)
    return folder


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES.keys())
@pytest.mark.parametrize(
    "messages", [[USER], [SYSTEM, USER, ASSISTANT], [USER, ASSISTANT, USER, ASSISTANT]]
)
def test_renders_as_transformers(text, messages):
    """Every construct that chat templates use gives the string that transformers gives."""
    from transformers.utils.chat_template_utils import render_jinja_template

    special = {"bos_token": "<s>", "eos_token": "</s>"}
    want, _ = render_jinja_template([messages], chat_template=text, **special)
    assert ChatTemplate(text, special).render(messages) == want[0]


def test_worldpm_string():
    """The WorldPM template keeps the system block and closes with one <|endoftext|>."""
    render = ChatTemplate(WORLDPM_TEMPLATE).render
    question = "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nq<|im_end|>\n"
    answer = "<|im_start|>assistant\na<|im_end|>"
    user, assistant = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    assert render([SYSTEM, user, assistant]) == question + answer + "<|endoftext|>"
    assert render([user, assistant]) == question + answer + "<|endoftext|>"
    assert render([user, assistant, user]) == (
        question + answer + "\n<|im_start|>user\nq<|im_end|><|endoftext|>"
    )
    assert "<|im_start|>system\nBe kind.<|im_end|>" in render(
        [{"role": "system", "content": "Be kind."}, user]
    )


def test_order_of_lookup(tmp_path):
    """The template's own file comes before the configuration; of named ones, the default."""
    named = [{"name": "tool_use", "template": "tool"}, {"name": "default", "template": "plain"}]
    assert ChatTemplate.from_folder(write(tmp_path, {"chat_template": "inline"})).text == "inline"
    assert ChatTemplate.from_folder(write(tmp_path, {"chat_template": named})).text == "plain"
    assert ChatTemplate.from_folder(write(tmp_path, jinja="own file")).text == "own file"


def test_special_tokens(tmp_path):
    """Token variables come from the configuration, as text or as objects, then from the old map."""
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": None}
    write(tmp_path, config, "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ sep_token }}")
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": "no", "sep_token": "<sep>"}')
    assert ChatTemplate.from_folder(tmp_path).render([USER]) == "<s></s><sep>"


def test_hash():
    """The hash is SHA-256 of the text, and sees a change of one character."""
    assert ChatTemplate("é").hash == hashlib.sha256("é".encode()).hexdigest()
    assert ChatTemplate("é").hash != ChatTemplate("e").hash


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "no chat template"),
        ({"chat_template": None}, "no chat template"),
        ({"chat_template": [{"name": "rag", "template": "x"}]}, "rag but no 'default'"),
        ({"chat_template": [{"name": "b"}, {"name": "a"}]}, "config.json: .* named a, b but no"),
        ({"chat_template": "{% if %}"}, "not valid Jinja"),
        ({"chat_template": "{" * (MAX_TEMPLATE_BYTES + 1)}, "over the limit"),
        ([], "not a JSON object"),
    ],
)
def test_unusable_templates(tmp_path, config, words):
    """A missing, nameless, broken or oversized template is an error that says so."""
    with pytest.raises(CheckpointError, match=words):
        ChatTemplate.from_folder(write(tmp_path, config))


def test_broken_files(tmp_path):
    """A file that is not JSON, or not UTF-8, is named."""
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json: not valid JSON"):
        ChatTemplate.from_folder(tmp_path)
    write(tmp_path, {})
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"chat_template\.jinja: cannot be read"):
        ChatTemplate.from_folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{{ raise_exception('no such role') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{{ strftime_now('%Y') }}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}",
    ],
)
def test_refusals_while_rendering(text):
    """What a template refuses, or must not do, ends as one kind of error."""
    with pytest.raises(CheckpointError, match="cannot render messages of the roles user"):
        ChatTemplate(text).render([USER])


REFUSES = "{{ raise_exception('two ' + messages[0].role + 's in a row' + (eos_token or '')) }}"


def test_a_template_s_own_words_reach_the_user(tmp_path):
    """What it raises is told with the file it is from and the roles, wherever it was found."""
    config = {"chat_template": REFUSES, "eos_token": "</s>"}
    told = r": the chat template cannot render messages of the roles user, user: two users in a row"
    with pytest.raises(CheckpointError, match=rf"tokenizer_config\.json{told}</s>"):
        ChatTemplate.from_folder(write(tmp_path, config)).render([USER, USER])
    with pytest.raises(CheckpointError, match=rf"chat_template\.jinja{told}"):
        ChatTemplate.from_folder(write(tmp_path, jinja=REFUSES)).render([USER, USER])
    with pytest.raises(CheckpointError, match=rf"^chat template{told}"):
        ChatTemplate(REFUSES).render([USER, USER])


def test_the_limit_is_that_of_bytes():
    """64 KB may be there, in UTF-8; one byte more is refused."""
    assert ChatTemplate("x" * MAX_TEMPLATE_BYTES).render([USER]) == "x" * MAX_TEMPLATE_BYTES
    with pytest.raises(CheckpointError, match="over the limit"):
        ChatTemplate("é" * (MAX_TEMPLATE_BYTES // 2) + "x")


def test_no_clock():
    """A template that asks for today's date falls back to its own fixed one."""
    text = (
        "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}26 Jul 2024{% endif %}"
    )
    assert ChatTemplate(text).render([USER]) == "26 Jul 2024"


def test_light_import():
    """Importing the encoder brings in none of the heavy libraries."""
    code = (
        "import sys, worldpm.tokens.encode, worldpm.tokens.tree, worldpm.tokens.pack;"
        "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
