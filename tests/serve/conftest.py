"""The server's page in a browser, for the tests that drive it."""

import pytest
from browser import browser
from live import live


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tmp_path_factory.mktemp("live"), keys=["the-key"]) as found:
        yield found


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def page(server, tab):
    """The page, loaded anew, with the server's key from the address."""
    tab.open("about:blank")
    tab.requests.clear(), tab.log.clear(), tab.dialogs.clear()
    tab.look()
    tab.open(f"http://127.0.0.1:{server.port}/#key=the-key")
    tab.until("document.querySelectorAll('.reply').length === 2")
    return tab
