"""The committed records, and a number as tables show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def records() -> dict[str, dict[str, Any]]:
    """All committed records by name."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("quality.json", "speed.json"):
        content = json.loads((ROOT / "benchmarks/results" / name).read_text(encoding="utf-8"))
        found.update({record["name"]: record for record in content})
    return found


def number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
