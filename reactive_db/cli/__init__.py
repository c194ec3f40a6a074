"""The command line: `reactive-db`, one module per command."""

from __future__ import annotations

import click

from reactive_db.cli.check import check
from reactive_db.cli.demo import demo
from reactive_db.cli.run_notebook import run_notebook
from reactive_db.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="reactive-db", prog_name="reactive-db")
def main() -> None:
    """A reactive database for notebooks.

    In Python: `import reactive_db as rdb`, then `db = rdb.connect("name")`. The commands here need no notebook.
    """


main.add_command(check)
main.add_command(demo)
main.add_command(run_notebook)
main.add_command(serve)

__all__ = ["main"]
