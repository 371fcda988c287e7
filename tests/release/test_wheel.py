"""What `pip install worldpm` brings: the right files, and verbs that need no repository."""

import json
import shutil
import sys
import tarfile
import zipfile

import pytest
from dumps import SITE, write_7z
from installed import ROOT, ran
from tiny import small_model

from worldpm import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PAGE = {"index.html", "page.css", "page.js", "start.js", "words.js", "files.js"}
ROWS = [
    {"id": "a", "prompt": "Why is the sky blue?", "replies": ["Rayleigh.", "It is not.", "Why?"]},
    {"id": "b", "prompt": "Tea?", "replies": ["Yes, please."]},
]


def test_the_wheel_holds_the_package_alone(wheel):
    """Types' mark, licence, notice, page and default model; no test, document or data of ours."""
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"worldpm-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"worldpm", info}
    licences = {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"}
    assert licences | {"worldpm/py.typed"} <= names
    assert {f"worldpm/serve/page/{name}" for name in PAGE} <= names
    sources = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src/worldpm").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources
    kinds = {name.rsplit(".", 1)[-1] for name in names if name.startswith("worldpm/")}
    assert kinds == {"py", "typed", "json", "safetensors", "html", "css", "js"}
    assert wheel.stat().st_size < 10e6


def test_the_source_distribution_can_be_tested(dist):
    """Sources, tests, recipes, documents; neither environments nor what targets made."""
    (path,) = dist.glob("worldpm-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = ["Makefile", "pyproject.toml", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"]
    wanted += ["tests/conftest.py", "recipes/default.toml", "docs/tour.md", "src/worldpm/py.typed"]
    assert set(wanted) <= names
    assert not [name for name in names if "/." in name or name.startswith((".venv", "build/"))]


def test_metadata(dist, light):
    """An index would render it; version, extras and Python as the project states them."""
    ran(sys.executable, "-m", "twine", "check", "--strict", *dist.glob("worldpm-*"), cwd=dist)
    source = "from importlib.metadata import metadata as m; import json; print(json.dumps({"
    source += "k: m('worldpm').get_all(k) for k in ('Version', 'License-Expression',"
    source += " 'Requires-Python', 'Provides-Extra')}))"
    said = json.loads(light.run(source))
    assert said["Version"] == [__version__]
    assert said["License-Expression"] == ["Apache-2.0"]
    assert said["Requires-Python"] == [">=3.11"]
    assert {"model", "serve", "plots", "all"} <= set(said["Provides-Extra"])


def test_a_light_install_has_every_data_verb(light, tmp_path):
    """A dump becomes threads, comparisons and rows, far from the repository and without torch."""
    at = light.folder
    assert light.run("import worldpm; print(worldpm.__file__)").startswith(str(at))
    assert light.run("import importlib.util as u; print(u.find_spec('torch'))") == "None"
    assert light.worldpm("--version").stdout == f"worldpm {__version__}\n"
    assert "forum" in light.worldpm("--help").stdout
    write_7z(at / "small.example.7z", Posts=SITE.replace(b'Score="4"', b'Score="9"'))
    light.worldpm("forum", "stackexchange", "small.example.7z", "-o", "threads", "-q")
    light.worldpm("pairs", "threads", "-o", "data", "-q")
    assert json.loads(light.worldpm("show", "data", "--json").stdout)["kind"] == "comparisons"
    light.worldpm("export", "data", "--format", "trl", "-o", "rows")
    pair = {"prompt": "Tea?", "chosen": "Yes, please.", "rejected": "No."}
    (at / "pairs.jsonl").write_text(json.dumps(pair))
    light.worldpm("import", "pairs", "pairs.jsonl", "-o", "own", "-q")


@pytest.mark.parametrize(
    ("command", "lacks"),
    [
        ("score rows.jsonl --model x", "torch is not installed"),
        ("compare --prompt a b c --model x", "torch is not installed"),
        ("serve --model x", "is not installed"),
    ],
)
def test_a_light_install_says_what_to_install(light, command, lacks):
    """A verb that needs an extra names it in one line, without a traceback."""
    (light.folder / "rows.jsonl").write_text(json.dumps(ROWS[0]))
    said = light.worldpm(*command.split(), code=1).stderr
    assert lacks in said
    assert 'pip install "worldpm[' in said
    assert said.count("\n") == 1


def test_an_installed_wheel_scores_as_the_repository(full, tmp_path):
    """The same scores of a tiny checkpoint, within 1e-6 with torch's engine."""
    import worldpm
    from worldpm.rows import read_comparisons

    model = small_model(tmp_path / "tiny")
    path = full.folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    shutil.copytree(model, full.folder / "tiny")
    said = full.worldpm("score", "rows.jsonl", "--model", "tiny", "--engine", "torch").stdout
    scores = [json.loads(line)["scores"] for line in said.splitlines()]
    ours = worldpm.load(model, engine="torch").score(list(read_comparisons(path)))
    assert len(scores) == len(ours) == 2
    for own, theirs in zip(ours, scores, strict=True):
        assert theirs == pytest.approx(own, abs=1e-6)


def test_the_kernels_wheel_builds_and_scores(full, index, tmp_path):
    """With a C++ compiler worldpm-kernels builds from its folder, and the scorer chooses it."""
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    ran(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path, ROOT / "kernels",
        cwd=tmp_path)  # fmt: skip
    (wheel,) = tmp_path.glob("worldpm_kernels-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "worldpm_kernels/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name]
    full.install(wheel)
    model = small_model(tmp_path / "tiny")
    (full.folder / "one.jsonl").write_text(json.dumps(ROWS[0]))
    said = full.worldpm("score", "one.jsonl", "--model", model, "--engine", "native")
    assert len(json.loads(said.stdout)["scores"]) == 3
