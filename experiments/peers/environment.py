"""An environment of its own for what needs PyTorch."""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def environment(folder: pathlib.Path) -> pathlib.Path:
  """Installs `requirements.txt` into a folder, once; returns its interpreter."""
  python, done = folder / "environment" / "bin" / "python", folder / "environment" / "installed"
  if not done.exists():
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    needed = HERE / "requirements.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", needed], check=True)
    done.touch()
  return python
