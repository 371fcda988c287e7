"""What the audit calls a surprise among licences."""

import pytest
from release.audit import KNOWN, asked, surprises


def bill(name, *licenses):
    """A bill of materials of one component."""
    return {"components": [{"name": name, "licenses": list(licenses)}]}


@pytest.mark.parametrize(
    "licence",
    [
        {"license": {"id": "GPL-3.0-only"}},
        {"license": {"name": "License :: OSI Approved :: GNU Affero General Public License v3"}},
        {"license": {"name": "LGPLv2+"}},
        {"expression": "MIT AND AGPL-3.0-or-later"},
        {"license": {"id": "CC-BY-NC-4.0"}},
    ],
)
def test_a_binding_licence_is_a_surprise(licence):
    """By its identifier, in an expression, or by a classifier; not where it is known."""
    ((name, said),) = surprises(bill("new", licence))
    assert name == "new"
    assert said in str(licence)
    assert all(surprises(bill(known, licence)) == [] for known in KNOWN)


def test_no_licence_is_a_surprise():
    """What says nothing grants nothing."""
    assert surprises(bill("new")) == [("new", "no licence stated")]


@pytest.mark.parametrize(
    "licence",
    [
        {"license": {"id": "MIT"}},
        {"expression": "Apache-2.0 OR BSD-2-Clause"},
        {"license": {"name": "License :: OSI Approved :: BSD License"}},
        {"license": {"name": "Some text that is a licence and speaks of the GPL. " * 9}},
    ],
)
def test_a_free_licence_is_none(licence):
    """MIT, BSD, Apache; nor is the text of one, which may speak of others."""
    assert surprises(bill("new", licence)) == []


def test_what_was_not_asked_is_not_sound():
    """pip-audit ends well where the database knows no package at all; each is told."""
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "skip_reason": "not found"},
            {"name": "c", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]},
            {"name": "d", "version": "2", "vulns": [{"id": "CVE-2", "fix_versions": []}]},
        ]
    }
    known = ["c 2: CVE-1, mended in 3", "d 2: CVE-2, mended in no version"]
    assert asked(report) == (known, ["b: not found"])
