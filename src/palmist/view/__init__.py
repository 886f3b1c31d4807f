"""Showing readings: `write_page` makes one self-contained HTML page."""

from palmist.view.page import PageReading, render_page, write_page

__all__ = ["PageReading", "render_page", "write_page"]
