"""Build step beside pyproject.toml: the package carries a copy of the claims and results, which live outside `lib`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


class BuildWithRecords(build_py):
    """Copy ``claims/`` and ``results/`` to ``lib/shipped/`` of what is built; `lib.results.shipped` looks there."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for folder in ("claims", "results"):
            target = Path(self.build_lib) / "lib" / "shipped" / folder
            shutil.rmtree(target, ignore_errors=True)
            if (HERE / folder).is_dir():
                shutil.copytree(HERE / folder, target)


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithRecords})
