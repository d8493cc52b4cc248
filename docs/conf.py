"""How Sphinx builds the site: ``make docs``."""
import sys
from pathlib import Path

from mmlowformer import __version__

sys.path.insert(0, str(Path(__file__).parent))
from measurement_pages import write_pages

write_pages()

project = 'mmlowformer'
author = 'The mmlowformer contributors'
project_copyright = author
version = release = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
source_suffix = {'.md': 'markdown'}
# Headings down to this level can be linked to.
myst_heading_anchors = 3
myst_enable_extensions = ['colon_fence']

# The docstrings name the types already.
autodoc_typehints = 'none'
autodoc_member_order = 'bysource'
napoleon_numpy_docstring = False
# "Attributes", where Sphinx would say "Variables".
napoleon_custom_sections = [('Attributes', 'params_style')]

html_theme = 'furo'
html_static_path = ['_static']
html_css_files = ['custom.css']
html_title = f'mmlowformer {version}'
html_copy_source = False
html_show_sphinx = False
