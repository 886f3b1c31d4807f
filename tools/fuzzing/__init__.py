"""Damage by the thousand: kinds of damage (`inputs`), readers of a user's files (`targets`), the watched process (`bench`)."""
