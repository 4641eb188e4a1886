"""An environment of its own for each peer, made once with venv and pip."""

import os
import re
import shutil
import subprocess
from pathlib import Path

#: Most seconds that the installation of one peer may take.
INSTALL_SECONDS = 900
#: Written last: an environment without it was not finished.
DONE = "installed"


def default_folder():
    """The user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "portfolio-engine" / "peers"


def interpreter(folder, packages, python):
    """(the interpreter of the environment that has these packages, None), or (None, why it could not be made)."""
    try:
        release = _release(python)
    except (OSError, subprocess.CalledProcessError) as error:
        return None, f"{python}: {error}"
    place = folder / f"{re.sub('[^a-z0-9]+', '-', packages[0]).strip('-')}-{release}"
    inside = place / "bin" / "python"
    if (place / DONE).exists():
        return inside, None
    shutil.rmtree(place, ignore_errors=True)
    for command in (
        [python, "-m", "venv", place],
        [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    ):
        why = failure(command)
        if why:
            shutil.rmtree(place, ignore_errors=True)
            return None, why
    (place / DONE).touch()
    return inside, None


def _release(python):
    text = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", text], capture_output=True, text=True, check=True).stdout.strip()


def failure(command):
    """The last line, of errors if there are any, of what a command that failed said; None: it did not fail."""
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"not within {INSTALL_SECONDS} s"
    if done.returncode == 0:
        return None
    said = done.stderr or done.stdout
    errors = "\n".join(line for line in said.splitlines() if line.startswith("ERROR"))
    return last_line(errors or said) or f"exit code {done.returncode}"


def last_line(text):
    """The last line that is not empty."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
