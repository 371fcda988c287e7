"""Fixtures that several folders of tests share."""

import pytest
from qwen_tokenizer import qwen_folder


@pytest.fixture(scope="session")
def qwen_worldpm(request):
    """A folder with Qwen's tokenizer and the WorldPM template."""
    return qwen_folder(request.config.cache.mkdir("qwen"), "worldpm")


@pytest.fixture(scope="session")
def qwen_chatml(request):
    """A folder with Qwen's tokenizer and a template without the closing token."""
    return qwen_folder(request.config.cache.mkdir("qwen"), "chatml")
