"""Measure the tools at real sizes: time, memory, and how both grow."""
from ...utils.imports import lazy_names

__getattr__ = lazy_names(__name__, {
    '.cases': 'CASES Case',
    '.growth': 'SIDES estimate growth_rows series tables',
    '.processes': 'Processes',
})
