"""Puts clients into weir's cache, in pinned versions, each apart from the others; what stands there is taken as it is.

A file of `pins/` says what belongs to a client, the client itself first: X.txt is a list for pip with everything that comes along, made by
`pip freeze` where only the client was asked for; X.json is npm's package.json. The Rust one is a crate with its own Cargo.lock.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "reference"))

import packages  # noqa: E402


def folder():
    return packages.weir_cache() / "clients"


def installed(pins):
    """Where a client lies: an environment's Python, npm's node_modules, or a program."""
    path = HERE / pins
    if path.suffix == ".txt":
        return packages.venv(path, folder())
    if path.suffix == ".json":
        return npm(path)
    return crate(path)


def version(pins):
    path = HERE / pins
    if path.suffix == ".txt":
        return path.read_text().splitlines()[0].split("==")[1]
    if path.suffix == ".json":
        return next(iter(json.loads(path.read_text())["dependencies"].values()))
    return manifest(path)["dependencies"]["async-openai"]["version"].removeprefix("=")


def npm(package):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()[:12]
    place = folder() / f"{package.stem}-{digest}"
    whole = place / "whole"
    if not whole.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(package, place / "package.json")
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit"], cwd=place, check=True, stdout=sys.stderr)
        whole.touch()
    return place / "node_modules"


def crate(path):
    target = folder() / path.name
    # Flags that this checkout or its cargo were given are none of a client's.
    environment = {key: value for key, value in os.environ.items() if key not in ("RUSTFLAGS", "CARGO_TARGET_DIR")}
    build = ["cargo", "build", "--quiet", "--locked", "--target-dir", target]
    subprocess.run(build, cwd=path, env=environment, check=True, stdout=sys.stderr)
    return target / "debug" / manifest(path)["package"]["name"]


def manifest(path):
    return tomllib.loads((path / "Cargo.toml").read_text())
