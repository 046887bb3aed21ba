"""The site: what Sphinx makes of the pages in this folder. `make docs` builds it into build/docs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# The reference is written from the code, which imports Airflow: with a home of its own, whatever this machine has.
os.environ["AIRFLOW_HOME"] = str(Path(sys.prefix, "airflow"))

from cosmos_venv.version import __version__  # noqa: E402 - after the path to it

project = "cosmos-venv"
author = "cosmos-venv maintainers"
copyright = author  # noqa: A001 - Sphinx's name
version = release = __version__
language = "en"
# Options and code in docstrings keep their hyphens and quotation marks.
smartquotes = False

extensions = ["myst_parser", "tools.site"]
include_patterns = ["index.md", "tutorials/**", "how-to/**", "reference/**", "explanation/**"]

myst_enable_extensions = ["deflist"]
# As links to headings are written in the repository: page.md#the-heading.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# Where the files of the repository are published, for links to what is no page: CI knows.
repository_url = os.environ.get("COSMOS_VENV_REPOSITORY_URL", "")

html_theme = "furo"
html_title = f"cosmos-venv {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["scrolling.js"]
html_use_index = False
html_copy_source = False
# Their contrast is enough for everybody (WCAG AAA).
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# Pages name hosts that no machine has.
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1|[^/]*\.example(\.\w+)?)([:/].*)?$"]
