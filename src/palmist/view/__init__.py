"""Showing readings: `write_page` makes one self-contained HTML page, `draw_reading` a still picture."""

from palmist.view.page import PageReading, render_page, write_page
from palmist.view.picture import Picture, draw_reading, draw_recording

__all__ = ["PageReading", "Picture", "draw_reading", "draw_recording", "render_page", "write_page"]
