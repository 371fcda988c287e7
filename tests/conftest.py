"""Fixtures that several folders of tests share."""

import importlib.util
import os
import sys

import hypothesis
import offline
import pytest
from qwen_tokenizer import qwen_folder

# A busy machine is not a failure: a property that holds in 10 ms took 860 beside a training run.
hypothesis.settings.register_profile("worldpm", deadline=None)
hypothesis.settings.load_profile("worldpm")
# A mutant is killed by the first example that fails: no shrinking, and the same examples for all.
hypothesis.settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)  # fmt: skip

# Without it `datasets` reports every file that it reads, local ones too.
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"

THREADS = pytest.StashKey[int]()

# In every test run the shapes that the losses state are checked; it costs nothing until they are
# imported, and a light install without jaxtyping runs the other tests.
if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    from jaxtyping import install_import_hook

    install_import_hook("worldpm.train.loss", "beartype.beartype")


def pytest_configure(config):
    """No test looks for the network."""
    config.pluginmanager.register(offline)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Every test, fixtures included, begins with the threads that torch itself chooses.

    The bits of training depend on them, and a test, a fixture or a library may set others.
    """
    torch = sys.modules.get("torch")
    if torch:
        chosen = item.session.stash.setdefault(THREADS, torch.get_num_threads())
        if torch.get_num_threads() != chosen:
            torch.set_num_threads(chosen)


@pytest.fixture(scope="session")
def qwen_worldpm(request):
    """A folder with Qwen's tokenizer and the WorldPM template."""
    return qwen_folder(request.config.cache.mkdir("qwen"), "worldpm")


@pytest.fixture(scope="session")
def qwen_chatml(request):
    """A folder with Qwen's tokenizer and a template without the closing token."""
    return qwen_folder(request.config.cache.mkdir("qwen"), "chatml")
