"""Writes the bill of materials (SBOM, CycloneDX) of a wheel with all extras, in the versions that are installed here.

python -m release.bill dist/avtomatika-1.0.0-py3-none-any.whl dist/avtomatika-1.0.0.cdx.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import parse_wheel_filename

from release import environment, tools

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_DYNAMIC = 'dynamic = ["version"]'


def write(program: Sequence[str], wheel: Path, output: Path) -> None:
    """Writes the bill.

    Args:
        program: how cyclonedx-py is started.
        wheel: whose bill it is.
        output: a JSON file.

    Raises:
        subprocess.CalledProcessError: the program failed; it has said why.
    """
    _, version, _, _ = parse_wheel_filename(wheel.name)
    with tempfile.TemporaryDirectory(prefix="avtomatika-bill-") as folder:
        python = environment.make(Path(folder) / "environment", wheel, ["all"])
        # The program does not ask the build for a version that is not written down.
        project = Path(folder) / "pyproject.toml"
        text = _PROJECT.read_text(encoding="utf-8")
        project.write_text(text.replace(_DYNAMIC, f'version = "{version}"'), encoding="utf-8")
        options = ["--pyproject", str(project), "--mc-type", "library", "--output-format", "JSON"]
        options += ["--output-reproducible", "--output-file", str(output), str(python)]
        subprocess.run([*program, "environment", *options], check=True)


def main() -> int:
    """Writes the bill, or says why there is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    try:
        program = [str(tools.find("cyclonedx-py"))]
    except tools.MissingToolError as error:
        print(f"NO BILL OF MATERIALS: {error}")
        return 0
    write(program, options.wheel, options.output)
    print(f"written: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
