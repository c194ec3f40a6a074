"""`reactive-db` itself: it says what it can do."""

from __future__ import annotations

from importlib.metadata import version

from click.testing import CliRunner

from reactive_db.cli import main


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, command in main.commands.items():
        assert f"  {name} " in result.output
        assert command.help


def test_every_option_has_a_help_text() -> None:
    for command in main.commands.values():
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or getattr(parameter, "help", None)


def test_version_is_the_packages() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"reactive-db, version {version('reactive-db')}\n"


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(main, ["fly"]).exit_code == 2
