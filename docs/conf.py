"""The documentation site, from the same Markdown that is read in the repository: `make docs`.

Nothing is fetched, neither to build the site nor to read or search it. Notebooks are shown as they
were executed and are not run again.
"""

import worldpm

project = "worldpm"
author = "The worldpm authors"
copyright = "The worldpm authors, Apache-2.0"
version = release = worldpm.__version__

extensions = ["myst_nb"]
exclude_patterns = ["data"]
nitpicky = True

myst_heading_anchors = 4  # as GitHub names them
nb_execution_mode = "off"

language = "en"
highlight_language = "none"
smartquotes = False  # what stands between quotes is often to be typed
html_theme = "furo"
html_title = f"worldpm {release}"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
html_theme_options = {"top_of_page_buttons": []}

# `make links` asks the addresses that pages name; it needs a network and is no part of the tests.
linkcheck_anchors = False
linkcheck_timeout = 20
linkcheck_workers = 2
linkcheck_ignore = [r"http://127\.0\.0\.1", r"http://(gpu\d|rm\.example|a|b)\b"]
