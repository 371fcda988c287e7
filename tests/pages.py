"""What the tests of the server's page share: its words, axe, and texts that would like to run."""

import json
import os
from pathlib import Path

import pytest

READY = "!document.getElementById('result').hidden && !document.getElementById('go').disabled"
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
CALL = "window.hit=1;alert(1)"
ATTACKS = [
    f"<script>{CALL}</script>", f"<img src=x onerror='{CALL}'>", f"<svg onload='{CALL}'>",
    f"<svg><script>{CALL}</script></svg>", "<iframe srcdoc='<script>parent.hit=1</script>'>",
    f"<iframe src='javascript:{CALL}'>", f"<a href='javascript:{CALL}' autofocus>x</a>",
    f"<body onload='{CALL}'>", f"<input autofocus onfocus='{CALL}'>",
    f"<details open ontoggle='{CALL}'>", f"<video><source onerror='{CALL}'></video>",
    f"<audio src=x onerror='{CALL}'>", "<style>@import 'http://evil.invalid/a.css'</style>",
    "<link rel=stylesheet href=http://evil.invalid/a.css>", "<img src=http://evil.invalid/a.png>",
    "<script src=http://evil.invalid/a.js></script>", "<base href=http://evil.invalid/>",
    "<meta http-equiv=refresh content='0;url=http://evil.invalid/'>",
    "<form action=http://evil.invalid/><button autofocus>", f"<object data='javascript:{CALL}'>",
    f"<embed src='javascript:{CALL}'>", f"<marquee onstart='{CALL}'>",
    f"<math><mtext><img src=x onerror='{CALL}'></mtext></math>",
    f"</textarea><script>{CALL}</script>", f"</script><script>{CALL}</script>",
    f"</style><script>{CALL}</script>", f"</title><script>{CALL}</script>",
    f"--><script>{CALL}</script>", f"]]><script>{CALL}</script>", f"\"><script>{CALL}</script>",
    f"'><script>{CALL}</script>", f"' onmouseover='{CALL}", f"\" autofocus onfocus=\"{CALL}",
    f"javascript:{CALL}", f"[x](javascript:{CALL})", "![x](http://evil.invalid/a.png)",
    f"${{(() => {{ {CALL} }})()}}", f"{{{{constructor.constructor('{CALL}')()}}}}",
    f"`;{CALL}//", f"\\u003cscript\\u003e{CALL}\\u003c/script\\u003e",
    f"&lt;script&gt;{CALL}&lt;/script&gt;", f"&#60;script&#62;{CALL}&#60;/script&#62;",
    f"%3Cscript%3E{CALL}%3C/script%3E", f"<scr\0ipt>{CALL}</script>",
    f"<ScRiPt>{CALL}</sCrIpT>", f"<script\n>{CALL}</script\n>", f"<svg/onload={CALL}>",
    f"<img src='x`'onerror={CALL}>", f"<x onclick={CALL} tabindex=1 id=x>x", "<x id=ranking>",
    f"<template><script>{CALL}</script></template>", f"<noscript><img src=x onerror={CALL}>",
    f"<select autofocus onfocus='{CALL}'>", f"<keygen autofocus onfocus='{CALL}'>",
    f"<isindex type=image src=1 onerror='{CALL}'>", f"<table background='javascript:{CALL}'>",
    "<div style='background:url(http://evil.invalid/a)'>", f"<portal src='javascript:{CALL}'>",
    f"\u202e<script>{CALL}</script>", f"__proto__<script>{CALL}</script>",
]  # fmt: skip


def text_of(page, selector):
    return page.run(f"document.querySelector({json.dumps(selector)}).innerText")


def only_asked(page, server):
    """Nothing but the server was asked, and the console is empty."""
    own = f"http://127.0.0.1:{server.port}/"
    assert all(url.startswith((own, "data:", "about:")) for url in page.requests), page.requests
    assert page.log == []


def bring_axe(page):
    """Load axe-core into the page; skip where it is not installed."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm install axe-core, or set AXE_CORE to its file")
    page.call("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))


def serious_findings(page):
    """What axe calls serious or critical on the page as it stands."""
    passed, found = json.loads(
        page.run(
            "axe.run().then(r => JSON.stringify([r.passes.length, "
            "r.violations.map(v => [v.impact, v.id, v.nodes[0].html])]))"
        )
    )
    assert passed > 10
    return [row for row in found if row[0] in {"serious", "critical"}]
