"""`reactive-db check STORE`: whether a store is whole, part by part."""

from __future__ import annotations

import click

from reactive_db.database import store_path
from reactive_db.engine.check import Part, verify
from reactive_db.errors import ReactiveDBError


@click.command()
@click.argument("store")
def check(store: str) -> None:
    """Verify STORE, a name or a path: every part of it, and that the parts fit each other.

    Changes nothing. The store must not be open anywhere. Exit code 0: it is sound, 1: it is not, or cannot be looked
    at.
    """
    path = store_path(store)
    click.echo(f"Checking {path}")
    try:
        report = verify(path, _show)
    except ReactiveDBError as error:
        raise click.ClickException(str(error)) from None
    if not report.is_sound:
        parts = ", ".join(part.name for part in report.parts if part.faults)
        raise click.ClickException(
            f"the store is damaged ({parts}). Keep it, and restore a backup: see docs/errors/store-corrupt.md"
        )
    click.echo(f"The store is {click.style('sound', fg='green')}.")


def _show(part: Part) -> None:
    verdict = click.style("damaged", fg="red") if part.faults else click.style("ok     ", fg="green")
    click.echo(f"  {verdict}  {part.name:<10} {part.facts}")
    for fault in part.faults:
        click.echo(f"           {fault}")
