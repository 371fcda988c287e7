"""A running server -> the pictures of its page in docs/images: light, dark, and a phone in Chinese.

worldpm serve &
.venv/bin/python docs/build_page_images.py http://127.0.0.1:8000/
"""

import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from browser import browser  # noqa: E402

READY = "!document.getElementById('result').hidden && !document.getElementById('go').disabled"


def main(address: str) -> None:
    """Write the three pictures."""
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as tab:
        for name, look, chinese in (
            ("light", {"height": 1250}, False),
            ("dark", {"height": 1250, "dark": True}, False),
            ("phone", {"width": 390, "height": 844, "phone": True}, True),
        ):
            tab.look(**look)
            tab.open("about:blank")
            tab.open(address)
            tab.until("document.querySelectorAll('.reply').length === 2")
            if chinese:
                tab.click("#language")
            tab.click("#example")
            tab.until(READY)
            tab.until("document.getAnimations().length === 0")
            tab.run("document.activeElement.blur(); scrollTo(0, 0)")
            (DOCS / "images" / f"page-{name}.png").write_bytes(tab.picture())


if __name__ == "__main__":
    main(*sys.argv[1:])
