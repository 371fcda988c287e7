"""Real published sets, imported whole: places that tell nothing, a page and a card of each."""

from pathlib import Path

import pytest

from worldpm.cli.corpus import card, write_page
from worldpm.pairs.imports import ImportSettings, import_published
from worldpm.records import Comparison
from worldpm.report.corpus import sampled, share_of, summarise

SETS = Path(__file__).parents[2] / ".." / "shared" / "data" / "preferences"
FOLDERS = {
    "hh-rlhf": "hh_rlhf",
    "oasst-zh": "oasst_zh",
    "qa-feedback": "qa_feedback",
    "tldr": "tldr",
    "ukpconvarg": "ukpconvarg",
}
ALWAYS_FIRST = {"hh-rlhf", "oasst-zh"}  # their authors write the better reply first


@pytest.mark.parametrize("name", FOLDERS)
def test_places_page_and_card(tmp_path, name):
    """The first place wins half of the edges, by default; the page is small, the card names all."""
    source = SETS / FOLDERS[name]
    if not source.exists():
        pytest.skip(f"{FOLDERS[name]} is not here")
    out = tmp_path / "data"
    manifest = import_published(name, source, out, quiet=True)
    corpus = summarise(sampled(out, Comparison, 10**9))
    assert corpus.num("comparisons") == sum(manifest["counts"].values())
    # Edges of one comparison go together: the fewer comparisons, the wider chance is.
    assert abs(share_of(corpus.first_wins) - 0.5) < 2 / corpus.num("comparisons") ** 0.5
    if name in ALWAYS_FIRST:
        kept = tmp_path / "kept"
        import_published(name, source, kept, ImportSettings(shuffle=False), quiet=True)
        assert share_of(summarise(sampled(kept, Comparison, 10**9)).first_wins) == 1
    assert 5_000 < write_page(out, manifest, tmp_path / "page.html", 3) < 5_000_000
    text = card(out, manifest, {part: f"{part}*.parquet" for part in manifest["counts"]})
    assert all(f"| {part} | {count:,} |" in text for part, count in manifest["counts"].items())
    assert all(f"`{reason}`" in text for reason in manifest["dropped"])
