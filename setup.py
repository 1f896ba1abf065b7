"""The wheel also holds the profiles and prompts, which lie beside the package in the repository."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithData(build_py):
    """Copies ``data/profiles`` and ``data/prompts`` to where `rbtc.files.data_root` looks."""

    def run(self):
        """Build the package, then copy; an installation in place reads the repository's data."""
        super().run()
        if not self.editable_mode:
            for name in ("profiles", "prompts"):
                target = Path(self.build_lib) / "rbtc" / "data" / name
                shutil.copytree(Path("data") / name, target, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithData})
