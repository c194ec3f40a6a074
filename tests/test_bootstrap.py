"""Set-up of a bare machine, and in a checkout: what `tools/bootstrap.py` installs, links and says."""

from __future__ import annotations

import ast
import os
import tomllib
from pathlib import Path

import pytest

from tools import bootstrap

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the programs that stand in for apt-get are shell scripts")

APT = '#!/bin/sh\necho "$@" >> "${0%/*}/asked"\n'
INSTALLS = """
if [ "$1" = install ]; then
  echo "#!/bin/sh" > "${0%/*}/chromium"
  /bin/chmod +x "${0%/*}/chromium"
fi
"""
SUDO = '#!/bin/sh\nshift\nexec "$@"\n'


class Machine:
    """A machine that has no program but those that are put on it."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs

    def put(self, name: str, script: str = "#!/bin/sh\n") -> str:
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)
        return str(path)

    def asked(self) -> list[str]:
        """What apt-get was asked for."""
        return (self.programs / "asked").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:9")  # nobody listens there
    machine = Machine(programs)
    machine.put("sudo", SUDO)
    return machine


def test_it_parses_on_an_old_python() -> None:
    ast.parse(Path(bootstrap.__file__).read_text("utf-8"), feature_version=(3, 6))


def test_a_chromium_that_is_there_is_taken(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.put("google-chrome")
    chromium = machine.put("chromium")
    bootstrap.set_up_browser()
    assert bootstrap.find_chromium() == chromium
    assert capsys.readouterr().out == ""


def test_one_that_does_not_run_is_not(machine: Machine) -> None:
    machine.put("chromium-browser", "#!/bin/sh\necho 'requires the chromium snap to be installed'\nexit 1\n")
    chrome = machine.put("google-chrome")
    assert bootstrap.find_chromium() == chrome


def test_on_debian_apt_installs_it(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.put("apt-get", APT + INSTALLS)
    bootstrap.set_up_browser()
    assert bootstrap.find_chromium() == str(machine.programs / "chromium")
    update, install = machine.asked()
    assert update.startswith("update")
    assert install.endswith("--no-install-recommends chromium fonts-dejavu fonts-liberation")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_where_nothing_helps_the_remedy_is_said(machine: Machine) -> None:
    machine.put("apt-get", APT + "exit 100\n")
    with pytest.raises(SystemExit, match="no Chromium could be installed") as stopped:
        bootstrap.set_up_browser()
    assert "`sudo apt-get install chromium fonts-dejavu fonts-liberation`" in str(stopped.value)


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the proxy of a JupyterHub would be in an empty environment."""
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    proxy = tmp_path / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    monkeypatch.setattr(bootstrap, "HUB_PROXY_SCRIPT", proxy)
    return proxy


def test_npm_puts_the_proxy_of_a_hub_into_the_environment(
    proxy: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python = machine.put("python", f'#!/bin/sh\n/bin/mkdir -p {proxy.parent}\necho "$@" >> {proxy}\n')
    monkeypatch.setattr(bootstrap, "PYTHON", python)
    for _ in range(2):
        bootstrap.set_up_hub_proxy()
    (asked,) = proxy.read_text().splitlines()
    assert f"install --prefix {bootstrap.VENV} " in asked
    assert asked.endswith("configurable-http-proxy@5")
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_without_npm_the_other_tests_still_run_and_the_remedy_is_said(
    proxy: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "PYTHON", machine.put("python", "#!/bin/sh\nexit 1\n"))
    bootstrap.set_up_hub_proxy()
    said = capsys.readouterr().out
    assert "configurable-http-proxy could not be installed from npm" in said
    assert "The JupyterHub tests are skipped" in said


def test_a_checkout_links_what_pip_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "VENV", tmp_path)
    labextension = tmp_path / "share" / "jupyter" / "labextensions" / "reactive-db"
    (labextension / "static").mkdir(parents=True)
    switch = tmp_path / "etc" / "jupyter" / "jupyter_server_config.d" / "reactive_db.json"
    switch.parent.mkdir(parents=True)
    switch.write_text("{}")
    for _ in range(2):
        bootstrap._link_shared_data()
        assert labextension.resolve() == bootstrap.ROOT / "reactive_db" / "notebook" / "labextension"
        assert (labextension / "package.json").exists()
        assert switch.resolve() == bootstrap.ROOT / "reactive_db" / "server" / "jupyter_server_config.json"


def test_it_links_what_a_wheel_ships() -> None:
    project = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text("utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert {place: source for source, place in shipped.items()} == bootstrap.SHARED_DATA
