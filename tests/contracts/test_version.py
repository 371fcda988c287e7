"""The package, the changelog and the citation speak of one version."""

import re
from pathlib import Path

from worldpm import __version__

ROOT = Path(__file__).parents[2]


def test_one_version():
    """The changelog's newest version and the citation file's are the package's."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.findall(r"^## (\d\S*)", changelog, re.MULTILINE)[0]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.findall(r"^version: (\S+)$", citation, re.MULTILINE)
    assert (newest, cited) == (__version__, [__version__])
