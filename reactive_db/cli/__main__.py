"""`python -m reactive_db.cli`, for who has the Python but not its scripts on the PATH."""

from __future__ import annotations

from reactive_db.cli import main

main(prog_name="reactive-db")
