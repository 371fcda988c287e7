"""What an install brings with it: a bill of materials, known vulnerabilities, licences.

    python tests/release/audit.py            build/audit/{light,full}/sbom.json and a table

Two environments of their own: `pip install .`, and `pip install '.[all]'` after TORCH (an
environment variable, as the Makefile's). cyclonedx-py writes what is in each, pip-audit asks the
Python advisory database about it, and no licence may be one that binds what is built upon it,
beyond those in `KNOWN`. Exit code 1: something was found, or the database was out of reach, which
is said as such.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "audit"
BINDING = (
    "GPL",
    "AFFERO",
    "MPL-",
    "MOZILLA",
    "EUPL",
    "OSL-",
    "SSPL",
    "CPAL",
    "CC-BY-SA",
    "CC-BY-NC",
    "COPYLEFT",
)
KNOWN = {
    "certifi": "MPL-2.0: a file of its own, used as it is",
    "inflate64": "LGPL-2.1: py7zr's decoder, imported, never copied",
    "multivolumefile": "LGPL-2.1: py7zr's",
    "orjson": "MPL-2.0 in part: used as it is",
    "py7zr": "LGPL-2.1: reads 7z archives, imported, never copied",
    "pybcj": "LGPL-2.1: py7zr's decoder",
    "pyppmd": "LGPL-2.1: py7zr's decoder",
    "tqdm": "MPL-2.0 and MIT: used as it is",
    "transformers": "Apache-2.0, which it states in words that no tool reads",
}


def licences(component):
    """All that a component of a bill of materials says of its licence."""
    found = []
    for entry in component.get("licenses", []):
        licence = entry.get("license", {})
        found += filter(None, [entry.get("expression"), licence.get("id"), licence.get("name")])
    return found


def surprises(bill):
    """[(component, what it says)] that bind what is built upon them, or say nothing at all."""
    found = []
    for component in bill.get("components", []):
        said = licences(component)
        # The text of a licence that stands as its own name is long and may quote others.
        short = [text for text in said if len(text) < 200]
        binding = any(word in text.upper() for text in short for word in BINDING)
        if (binding or not said) and component["name"].lower() not in KNOWN:
            found.append((component["name"], ", ".join(short) or "no licence stated"))
    return found


def ran(*command):
    """What a command printed; its own error ends the audit."""
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def install(folder, *requirements):
    """A new environment in `folder` with what is required; its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    ran(sys.executable, "-m", "venv", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    for required in requirements:
        print(f"installing {' '.join(required)}", file=sys.stderr)
        ran(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *required)
    ran(python, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools")
    return python


def write_bill(python, path):
    """The bill of materials of an environment, as CycloneDX has it."""
    tool = Path(sys.executable).with_name("cyclonedx-py")
    ran(tool, "environment", python, "--pyproject", ROOT / "pyproject.toml",
        "--output-reproducible", "--output-file", path)  # fmt: skip
    return json.loads(path.read_text("utf-8"))


def asked(report):
    """(what is known, what nobody could be asked about) of pip-audit's report, one line each."""
    known, unasked = [], []
    for each in report["dependencies"]:
        if "skip_reason" in each:
            unasked.append(f"{each['name']}: {each['skip_reason']}")
        for found in each.get("vulns", []):
            mended = ", ".join(found["fix_versions"]) or "no version"
            known.append(f"{each['name']} {each['version']}: {found['id']}, mended in {mended}")
    return known, unasked


def vulnerabilities(python):
    """(what is known, what nobody could be asked about) of an environment."""
    (packages,) = (python.parents[1] / "lib").glob("python*/site-packages")
    command = [sys.executable, "-m", "pip_audit", "--path", packages, "--format", "json"]
    done = subprocess.run(
        [*map(str, command), "--progress-spinner", "off", "--timeout", "20"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [], [(done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]]
    own = [each for each in report["dependencies"] if each["name"] != "worldpm"]
    return asked({"dependencies": own})


def main():
    """Audit both installs; 1 if there is anything to say."""
    torch = os.environ.get("TORCH", "torch==2.13.0").split()
    installs = {"light": [[str(ROOT)]], "full": [torch, [f"{ROOT}[all]"]]}
    failed = False
    for name, requirements in installs.items():
        python = install(WORK / name, *requirements)
        bill = write_bill(python, WORK / name / "sbom.json")
        print(f"{name}: {len(bill['components'])} distributions, build/audit/{name}/sbom.json")
        for component, said in surprises(bill):
            failed = True
            print(f"  licence: {component}: {said}")
        known, unasked = vulnerabilities(python)
        failed |= bool(known or unasked)
        for line in known:
            print(f"  vulnerable: {line}")
        if unasked:
            print(f"  NOT AUDITED, no advisory on {len(unasked)} in reach: {unasked[0]}")
        elif not known:
            print("  vulnerabilities: none known")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
