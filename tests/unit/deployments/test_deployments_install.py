"""`make setup` on a machine that is not as it should be: one line that says what to do, and a venv that is whole in the end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.settings import PROJECT_ROOT

BASH = shutil.which("bash") or "/bin/bash"
NEEDED = ("awk", "cat", "cut", "dirname", "grep", "head", "mkdir", "rm", "sed", "sha256sum")
PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")
Install = Callable[..., subprocess.CompletedProcess[str]]

# Python as far as the script asks it: -c is answered by a real one, `-m venv` lays a stub of the same kind.
PYTHON = f"""#!{BASH}
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; cat "$0" >"$3/bin/python"; echo '#!{BASH}' >"$3/bin/uv"; chmod +x "$3"/bin/*; touch "$3/made-anew" ;;
  "-m pip") ;;
  "-V "*) echo "Python of the test" ;;
  *) exec {sys.executable} "$@" ;;
esac
"""
OTHER_VERSION = f"""#!{BASH}
exec {sys.executable} -c 'import sys; code = sys.argv[2]; sys.version_info = (3, 14, 0, "final", 0); exec(code)' "$@"
"""
WITHOUT_PIP = PYTHON.replace('"-m pip") ;;', '"-m pip") echo "No module named pip" >&2; exit 1 ;;')
assert WITHOUT_PIP != PYTHON


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with nothing but what the script needs: coreutils, and stubs of uname, git, npm and every Python it tries."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in (*NEEDED, "chmod", "touch"):
        (folder / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
    answers = {"uname": 'case "$1" in -s) echo Linux ;; *) echo x86_64 ;; esac', "git": "exit 0", "npm": "exit 0"}
    for name, answer in answers.items():
        put(folder / name, f"#!{BASH}\n{answer}\n")
    for name in PYTHONS:
        put(folder / name, PYTHON)
    return folder


@pytest.fixture
def install(tmp_path: Path, tools: Path) -> Install:
    """infra/install.sh in a checkout of its own that locks no package."""
    checkout = tmp_path / "checkout"
    (checkout / "infra").mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "infra" / "install.sh", checkout / "infra")
    for name in ("requirements.lock", "pyproject.toml"):
        (checkout / name).write_text("")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}

    def run(**changes: str) -> subprocess.CompletedProcess[str]:
        environment = kept | {"PATH": str(tools)} | changes
        command = [BASH, str(checkout / "infra" / "install.sh")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    return run


def put(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused set-up says."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("tool", ["git", "npm"])
def test_a_missing_tool_is_named_with_how_to_get_it(tool: str, tools: Path, install: Install, tmp_path: Path) -> None:
    (tools / tool).unlink()
    assert refusal(install()) == f"setup: {tool} is missing; install it (Debian: apt-get install {tool}) and try again"
    assert not (tmp_path / "checkout" / ".venv").exists()


@pytest.mark.parametrize(("option", "value"), [("-m", "aarch64"), ("-s", "Darwin")])
def test_another_machine_is_refused_by_its_name(option: str, value: str, tools: Path, install: Install) -> None:
    own = {"-s": "Linux", "-m": "x86_64"} | {option: value}
    put(tools / "uname", f'#!{BASH}\ncase "$1" in -s) echo {own["-s"]} ;; *) echo {own["-m"]} ;; esac\n')
    assert refusal(install()) == f"setup: Timbre is set up on Linux x86-64 only; this is {own['-s']} {own['-m']}"


def test_a_python_that_is_too_new_is_refused_with_the_versions_that_will_do(tools: Path, install: Install, tmp_path: Path) -> None:
    for name in PYTHONS[1:]:
        (tools / name).unlink()
    put(tools / "python3", OTHER_VERSION)
    sentence = "setup: Python 3.11, 3.12 or 3.13 is missing; install one, or name it: make setup PYTHON=/path/to/python"
    assert refusal(install()) == sentence == refusal(install(PYTHON=str(tools / "python3")))
    put(tmp_path / "python-of-mine", PYTHON)
    assert install(PYTHON=str(tmp_path / "python-of-mine")).returncode == 0, "the one that is named is taken"


def test_a_venv_whose_making_was_interrupted_is_made_anew_and_a_whole_one_is_kept(install: Install, tmp_path: Path) -> None:
    venv = tmp_path / "checkout" / ".venv"
    (venv / "bin").mkdir(parents=True)
    put(venv / "bin" / "python", WITHOUT_PIP)  # as `python -m venv` leaves it when Ctrl-C falls into ensurepip
    done = install()
    assert done.returncode == 0, done.stderr
    assert (venv / "made-anew").exists() and (venv / ".installed").exists()

    (venv / "made-anew").unlink()
    (venv / ".installed").unlink()
    assert install().returncode == 0
    assert (venv / ".installed").exists() and not (venv / "made-anew").exists(), "packages that are there are not fetched again"
