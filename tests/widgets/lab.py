"""A real JupyterLab in a real browser, driven as a person drives it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = ROOT / "build" / "screenshots"
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
_BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
_QUIET = {
    "@jupyterlab/apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "@jupyterlab/docmanager-extension/plugin": '{"autosave": false}',
    "@jupyterlab/notebook-extension/tracker": '{"windowingMode": "none"}',  # cells out of sight are there, too
}


class Lab:
    """A JupyterLab server in a folder.

    Args:
        folder: of the server; its notebooks are in ``notebooks`` below it.
    """

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir()
        self._token = secrets.token_hex(8)
        settings = folder / "settings"
        for plugin, text in _QUIET.items():
            file = settings / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        environment = {
            **os.environ,
            **{name: str(folder / name.lower()) for name in places},
            "JUPYTER_PLATFORM_DIRS": "1",
            "JUPYTERLAB_SETTINGS_DIR": str(settings),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "widgets")]),
        }
        self._log = folder / "lab.log"
        options = [
            "--no-browser",
            "--allow-root",
            "--expose-app-in-browser",
            "--ServerApp.ip=127.0.0.1",
            "--ServerApp.port=0",
            f"--IdentityProvider.token={self._token}",
            f"--ServerApp.root_dir={self.notebooks}",
            "--LabApp.extension_manager=readonly",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log, cwd=folder
            )
        self.url = self._wait()

    def _wait(self) -> str:
        nobody = threading.Event()
        for _ in range(900):
            assert self._process.poll() is None, self._log.read_text()
            for line in self._log.read_text().splitlines():
                if "http://127.0.0.1:" in line and "token=" in line:
                    url = line[line.index("http://127.0.0.1:") :].split("/lab")[0]
                    if self._answers(url):
                        return url
            nobody.wait(0.1)
        raise AssertionError(self._log.read_text())

    def _answers(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/api/status?token={self._token}", timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError):
            return False

    def address(self, name: str) -> str:
        """Returns the address that opens a notebook."""
        return f"{self.url}/lab/tree/{name}?token={self._token}&reset"

    def write(self, name: str, *cells: str) -> Path:
        """Writes a notebook of code cells."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell.strip("\n")) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        file = self.notebooks / name
        nbformat.write(notebook, file)
        return file

    def stop(self) -> None:
        """Ends the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Notebook:
    """An open notebook.

    Args:
        page: of the browser.
        lab: the server.
        file: the notebook.
    """

    def __init__(self, page: Any, lab: Lab, file: Path) -> None:
        self.page = page
        self.file = file
        self._lab = lab
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(lab.address(file.name))
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length > 0")

    def wait_for_kernel(self) -> None:
        """Waits until a cell can be run."""
        self.page.wait_for_function(
            "() => jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        )

    def command(self, name: str, **arguments: Any) -> None:
        """Executes a command of JupyterLab, as its menus do; does not wait for its end."""
        self.page.evaluate("([name, given]) => void jupyterapp.commands.execute(name, given)", [name, arguments])

    def run(self, number: int, is_ended: bool = True) -> None:
        """Runs a cell, and waits for its end unless told not to."""
        script = (
            "async ([number, wait]) => {"
            " const notebook = jupyterapp.shell.currentWidget.content;"
            " notebook.activeCellIndex = number; notebook.deselectAll();"
            " const running = jupyterapp.commands.execute('notebook:run-cell');"
            " if (wait) await running; }"
        )
        self.page.evaluate(script, [number, is_ended])

    def cell(self, number: int) -> Any:
        """Returns the element of a cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def text(self, number: int) -> str:
        """Returns what a cell shows below its code."""
        return str(self.cell(number).locator(".jp-Cell-outputWrapper").inner_text())

    def kernel(self, what: str) -> None:
        """Interrupts, restarts or shuts down the kernel, and waits until that is done."""
        self.page.evaluate(
            "(what) => { const context = jupyterapp.shell.currentWidget.sessionContext;"
            " return what === 'shutdown' ? context.shutdown() : context.session.kernel[what](); }",
            what,
        )

    def save(self) -> list[Any]:
        """Saves and returns the outputs of all cells as they are on disk."""
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        notebook = nbformat.read(self.file, as_version=4)
        return [output for cell in notebook.cells for output in cell.get("outputs", ())]

    def theme(self, name: str) -> None:
        """Changes the theme and waits until it is there."""
        self.page.evaluate("(name) => jupyterapp.commands.execute('apputils:change-theme', { theme: name })", name)
        is_light = str("Light" in name).lower()
        self.page.wait_for_function(
            f"() => document.body.dataset.jpThemeLight === '{is_light}'"
            " && !document.querySelector('#jupyterlab-splash')"
        )

    def screenshot(self, name: str) -> None:
        """Keeps a picture, to be looked at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def launch(driver: Any) -> Any:
    """Starts Debian's browser."""
    return driver.chromium.launch(executable_path=CHROMIUM, args=_BROWSER_OPTIONS)
