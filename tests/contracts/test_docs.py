"""The documents agree with the code, with each other and with the files they point at."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DOCS = ROOT / "docs"
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
ANCHOR = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_reference_is_current():
    """What stands in docs/reference is what the code makes today."""
    spec = importlib.util.spec_from_file_location(
        "build_reference", ROOT / "docs/build_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, page in module.PAGES.items():
        written = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
        assert written == page(), f"docs/reference/{name} is stale: run docs/build_reference.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every relative link of a page names a file or folder that exists."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def _anchors(page):
    """What `#` may name in a page: its headings as GitHub and the site write them."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    found = []
    for heading in headings:
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).lower())
        slug = words.strip().replace(" ", "-")
        same = sum(re.sub(r"-\d+$", "", each) == slug for each in found)
        found.append(f"{slug}-{same}" if same else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_are_headings(page):
    """Every `#place` of a link is a heading of the page that it names."""
    for target, anchor in ANCHOR.findall(page.read_text(encoding="utf-8")):
        named = page.parent / target if target else page
        if not target.startswith("http") and named.suffix == ".md":
            assert anchor in _anchors(named), f"{page.name} links to {target}#{anchor}"


def test_every_page_stands_in_the_site():
    """The tables of contents in docs/index.md name each page and notebook once."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    tables = re.findall(r"```{toctree}\n(.*?)```", text, re.DOTALL)
    lines = [line for table in tables for line in table.splitlines()]
    entries = [line for line in lines if line and not line.startswith(":")]
    kinds = (".md", ".ipynb")
    named = [page for each in entries for kind in kinds for page in DOCS.glob(each + kind)]
    pages = [page for kind in kinds for page in DOCS.rglob(f"*{kind}")]
    assert sorted(named) == sorted(page for page in pages if page != DOCS / "index.md")


def _shape(text):
    """What two translations of a page must share: headings' depths, code, links, table rows."""
    blocks = re.findall(r"```.*?```", text, re.DOTALL)
    commands = [re.sub(r"\s*#.*", "", line) for block in blocks for line in block.splitlines()]
    return {
        "headings": [len(h) for h in re.findall(r"^(#+) ", text, re.MULTILINE)],
        "commands": commands,
        "links": sorted(LINK.findall(text)),
        "rows": len(re.findall(r"^\|", text, re.MULTILINE)),
    }


def test_the_two_readmes_are_twins():
    """README.md and README_CN.md have the same headings, commands, links and table rows."""
    english = _shape((ROOT / "README.md").read_text(encoding="utf-8"))
    chinese = _shape((ROOT / "README_CN.md").read_text(encoding="utf-8"))
    assert english == chinese


def test_recipes_load():
    """Every recipe we ship is valid against the settings."""
    from worldpm.config import load_settings
    from worldpm.train.recipe import Recipe

    recipes = sorted(ROOT.glob("recipes/*.toml"))
    assert recipes
    for path in recipes:
        assert load_settings(Recipe, path).seed >= 0
