"""The program in an image: an environment of its own in /opt/storebox, as install.sh makes it, put together from here.

Nothing of another architecture is run: pip only unpacks wheels, each with the hash that the lock says.
"""

import shutil
import sys
from pathlib import Path

from image.tools import inside, run

PYTHON = "3.13"
PLATFORMS = {
    "amd64": ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"),
    "arm64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
}
HOME = "opt/storebox"
SITE = f"{HOME}/lib/python{PYTHON}/site-packages"
ENTRY = f"""#!/{HOME}/bin/python
import sys

from appliance.cli import main

sys.exit(main())
"""


def put_program(architecture: str, epoch: int, source: Path, work: Path, root: Path) -> None:
    """Put the program of the checkout `source`, and all it needs, into a root."""
    site = root / SITE
    site.mkdir(parents=True)
    options = ["--target", str(site), "--no-deps", "--no-compile", "--quiet", "--disable-pip-version-check"]
    platforms = [f"--platform={platform}" for platform in PLATFORMS[architecture]]
    run(
        sys.executable, "-m", "pip", "install", *options, *platforms, "--only-binary=:all:", "--require-hashes",
        "--implementation=cp", f"--python-version={PYTHON}", "-r", source / "requirements/box.txt",
    )  # fmt: skip
    # A second run with --target would not merge the folder that both write commands into: ours go there by hand.
    shutil.rmtree(site / "bin", ignore_errors=True)
    run(sys.executable, "-m", "pip", "install", *options, "--no-index", _wheel(epoch, source, work))
    shutil.rmtree(site / "bin", ignore_errors=True)
    for said in site.glob("*.dist-info/direct_url.json"):
        said.unlink()
    for record in site.glob("*.dist-info/RECORD"):
        # Hashes of what is not there depend on this machine: programs that name its Python, and where the wheel lay.
        lines = record.read_text().splitlines(keepends=True)
        kept = [
            line for line in lines if not line.startswith("../../bin/") and "/direct_url.json," not in line
        ]
        record.write_text("".join(kept))
    programs = root / HOME / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(f"/usr/bin/python{PYTHON}")
    (programs / "storebox").write_text(ENTRY)
    (programs / "storebox").chmod(0o755)
    (root / HOME / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    )
    (root / "usr/bin/storebox").symlink_to(f"/{HOME}/bin/storebox")


def compile_all(root: Path) -> None:
    """Byte code for all Python of a root, which is read-only later; it holds whatever the files' times are."""
    for stale in root.rglob("__pycache__"):
        shutil.rmtree(stale)
    inside(
        root, "/usr/bin/python3", "-m", "compileall", "-q", "-j2", "--invalidation-mode=unchecked-hash",
        f"/usr/lib/python{PYTHON}", "/usr/lib/python3", f"/{SITE}",
        environment={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def _wheel(epoch: int, source: Path, work: Path) -> Path:
    """Our wheel, of the files that git knows, so that nothing that lies about gets into it."""
    tree, wheels = work / "source", work / "wheel"
    for folder in (tree, wheels):
        shutil.rmtree(folder, ignore_errors=True)
    for name in run("git", "ls-files", "-z", folder=source).decode().rstrip("\0").split("\0"):
        if (source / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, tree / name)
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
        "--disable-pip-version-check", "--wheel-dir", wheels, tree,
        environment={"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    (wheel,) = wheels.glob("*.whl")
    return wheel
