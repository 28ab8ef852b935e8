"""Real clients, unmodified and headless, against weir replaying replay.jsonl: what works, as a table.

    run.py PATH_OF_WEIR FOLDER [CLIENT...]

Every client is installed in its pinned version: Python ones each into an environment of its own in weir's cache, those of npm into
FOLDER/npm, the Rust one is built in FOLDER/cargo. Each is asked for a plain turn, a streamed turn and a tool round trip, where it has
them (checks.py, commands.py). The table goes to standard output, everything else to standard error. Exits with 1 when something failed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parent), str(HERE.parents[1] / "reference")]

import commands  # noqa: E402
import packages  # noqa: E402
from server import server  # noqa: E402

MODEL = "weir-model"
CHECKS = ("plain", "stream", "tools")
TIMEOUT_SECONDS = 300


def python(script):
    """A script of this folder in its own environment."""
    return lambda url, folder: scripted([packages.venv(HERE / f"{script}.txt"), HERE / f"{script}.py"], url)


def node(script):
    """A script beside the packages that npm installed."""

    def check(url, folder):
        shutil.copy(HERE / script, folder / "npm")
        return scripted(["node", folder / "npm" / script], url)

    return check


def rust(url, folder):
    cargo = ["cargo", "run", "--quiet", "--manifest-path", HERE / "async_openai/Cargo.toml", "--target-dir", folder / "cargo", "--"]
    return scripted(cargo, url)


def scripted(command, url):
    """What a script said of its checks: null, or what went wrong."""
    done = subprocess.run([*command, url, MODEL], stdout=subprocess.PIPE, timeout=TIMEOUT_SECONDS, text=True, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout.splitlines()[-1])


def commanded(client):
    """A program that is told what to do by its command line, in an empty home and an empty folder."""

    def check(url, folder):
        results = {}
        for name, (arguments, environment, judge) in client(url, MODEL, folder / "npm/node_modules/.bin", packages, HERE).items():
            with tempfile.TemporaryDirectory() as home:
                results[name] = told(arguments, {**os.environ, "HOME": home, **environment}, home, judge)
        return results

    return check


def told(arguments, environment, home, judge):
    try:
        for path, text in environment.pop("FILES", {}).items():
            file = Path(home, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run(
            [str(argument) for argument in arguments],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TIMEOUT_SECONDS} seconds"
    if judge(done.stdout):
        return None
    print(done.stdout, done.stderr, file=sys.stderr)
    return f"ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}"


CLIENTS = {
    "async-openai (Rust)": ("async_openai/Cargo.toml", "/v1/chat/completions", rust),
    "LangChain": ("langchain_openai_.txt", "/v1/chat/completions", python("langchain_openai_")),
    "LiteLLM": ("litellm_.txt", "/v1/chat/completions", python("litellm_")),
    "Vercel AI SDK": ("ai", "/v1/chat/completions", node("vercel_ai.mjs")),
    "LlamaIndex": ("llama_index_.txt", "/v1/chat/completions", python("llama_index_")),
    "pydantic-ai": ("pydantic_ai_.txt", "/v1/chat/completions", python("pydantic_ai_")),
    "openai-agents": ("openai_agents_.txt", "/v1/responses", python("openai_agents_")),
    "anthropic-python": ("anthropic_.txt", "/v1/messages", python("anthropic_")),
    "smolagents": ("smolagents_.txt", "/v1/chat/completions", python("smolagents_")),
    "Claude Code": ("@anthropic-ai/claude-code", "/v1/messages", commanded(commands.claude_code)),
    "Codex CLI": ("@openai/codex", "/v1/responses", commanded(commands.codex)),
    "opencode": ("opencode-ai", "/v1/chat/completions", commanded(commands.opencode)),
    "qwen-code": ("@qwen-code/qwen-code", "/v1/chat/completions", commanded(commands.qwen_code)),
    "aider": ("aider.txt", "/v1/chat/completions", commanded(commands.aider)),
}


def version(pinned):
    """The version that a requirements file, Cargo.toml or package.json names."""
    if pinned.endswith(".txt"):
        return (HERE / pinned).read_text().split("==")[1].strip()
    if pinned.endswith(".toml"):
        (line,) = [line for line in (HERE / pinned).read_text().splitlines() if line.startswith("async-openai =")]
        return line.split('"=')[1].split('"')[0]
    return json.loads((HERE / "package.json").read_text())["dependencies"][pinned]


def npm(folder):
    """Installs package.json's packages."""
    (folder / "npm").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", folder / "npm")
    subprocess.run(["npm", "install", "--silent", "--no-fund", "--no-audit"], cwd=folder / "npm", check=True, stdout=sys.stderr)


def cell(results, name):
    if name not in results:
        return "-"
    return "yes" if results[name] is None else f"**no**: {results[name]}".replace("|", "\\|").replace("\n", " ")


def main():
    weir, folder, *names = sys.argv[1:]
    folder = Path(folder).resolve()
    npm(folder)
    failed = False
    print("| client | version | route | plain turn | streamed turn | tool round trip |\n|---|---|---|---|---|---|")
    flags = ("--served-model-name", MODEL, "--accept-any-model", "--max-model-len", "200000", "--tool-call-parser", "hermes")
    with server(weir, f"replay:{HERE / 'replay.jsonl'}", *flags) as url:
        for name in names or CLIENTS:
            pinned, route, check = CLIENTS[name]
            print(f"{name}:", file=sys.stderr, flush=True)
            try:
                results = check(url, folder)
            except Exception as error:
                results = dict.fromkeys(CHECKS, f"{type(error).__name__}: {error}")
            failed |= any(results.values())
            cells = " | ".join(cell(results, check) for check in CHECKS)
            print(f"| {name} | {version(pinned)} | {route} | {cells} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
