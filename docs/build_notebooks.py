"""Run notebooks/*.py and write docs/notebooks/*.ipynb with what they show.

    make notebooks                                  all of them
    python docs/build_notebooks.py scaling_law      one

The .py files are the source, in jupytext's percent form. What is written holds no clock, path, host
or version, so that running again changes only what the code shows otherwise; words on stderr are
left out, since they depend on what is cached. Pictures are brought to 128 colours.
"""

import base64
import io
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES, TARGET = ROOT / "notebooks", ROOT / "docs/notebooks"
MOST_BYTES, MOST_WIDTH, COLOURS = 400_000, 1300, 128
KEPT = ("text/plain", "text/html", "image/png")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(source: Path) -> Any:
    """The notebook of a source with its outputs; an error in a cell ends the build."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(source, fmt="py:percent")
    resources = {"metadata": {"path": str(source.parent)}}
    NotebookClient(
        notebook, timeout=3600, kernel_name="python3", record_timing=False, resources=resources
    ).execute()
    return notebook


def cleaned(notebook: Any, name: str) -> Any:
    """The notebook less all that would differ the next time without a change of the code."""
    notebook.metadata = METADATA
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"{name}-{number}", {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
        for output in cell.outputs:
            if "data" in output:
                output.data = {kind: output.data[kind] for kind in KEPT if kind in output.data}
            if picture := output.get("data", {}).get("image/png"):
                output.data["image/png"] = base64.b64encode(
                    smaller(base64.b64decode(picture))
                ).decode()
    return notebook


def smaller(picture: bytes) -> bytes:
    """A PNG of fewer colours and pixels."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if image.width > MOST_WIDTH:
        height = round(image.height * MOST_WIDTH / image.width)
        image = image.resize((MOST_WIDTH, height), Image.Resampling.LANCZOS)
    packed = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


def checked(text: str, name: str) -> str:
    """The text, once it is small and names nothing of the machine that ran it."""
    private = [str(ROOT), str(Path.home()), tempfile.gettempdir() + "/", platform.node()]
    for words in private:
        if len(words) > 3 and words in text:
            sys.exit(f"{name}: its outputs name {words}; print less")
    if len(text) > MOST_BYTES:
        sys.exit(f"{name}: {len(text):,} bytes, more than {MOST_BYTES:,}; draw less")
    return text


def main(names: list[str]) -> None:
    """Build the notebooks of these names, or all."""
    import nbformat

    os.environ["OMP_NUM_THREADS"] = "1"  # the bits of training depend on it
    TARGET.mkdir(exist_ok=True)
    for name in names or sorted(path.stem for path in SOURCES.glob("*.py")):
        print(name, file=sys.stderr)
        notebook = cleaned(executed(SOURCES / f"{name}.py"), name.replace("_", "-"))
        text = checked(nbformat.writes(notebook) + "\n", name)
        (TARGET / f"{name}.ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
