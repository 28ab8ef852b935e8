"""Clients that are programs: for each check its command line, its environment, and what its output must hold.

Each function gets the server's address, the model's name, the folder of npm's programs, packages.py and this folder; it gives
{check: (arguments, environment, judge)}. `FILES` in an environment are files to write below the home folder first.
"""

import json

HELLO = "Say hello."
COMMAND = "Please run the numbered command with {}."
GREETED = "Hello from weir"
DONE = "The command printed its number."


def says(text):
    return lambda output: text in output


def claude_code(url, model, programs, packages, here):
    environment = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "any",
        "ANTHROPIC_MODEL": model,
        "ANTHROPIC_SMALL_FAST_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    claude = [programs / "claude", "-p"]
    partial = ["--output-format", "stream-json", "--verbose", "--include-partial-messages"]
    return {
        "plain": ([*claude, HELLO], environment, says(GREETED)),
        "stream": ([*claude, HELLO, *partial], environment, lambda output: output.count("text_delta") > 2 and GREETED in output),
        "tools": ([*claude, COMMAND.format("Claude"), "--allowedTools", "Bash"], environment, says(DONE)),
    }


def codex(url, model, programs, packages, here):
    provider = {"name": "weir", "base_url": f"{url}/v1", "wire_api": "responses", "env_key": "WEIR_KEY"}
    settings = [f"model_providers.weir.{key}={json.dumps(value)}" for key, value in provider.items()]
    settings += ['model_provider="weir"']
    options = [part for setting in settings for part in ("-c", setting)]
    codex = [programs / "codex", "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", "-m", model, *options]
    environment = {"WEIR_KEY": "any"}
    return {
        "stream": ([*codex, HELLO], environment, says(GREETED)),
        "tools": ([*codex, COMMAND.format("Codex")], environment, says(DONE)),
    }


def opencode(url, model, programs, packages, here):
    provider = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{url}/v1", "apiKey": "any"}, "models": {model: {}}}
    settings = {"provider": {"weir": provider}, "permission": {"bash": "allow"}, "small_model": f"weir/{model}", "autoupdate": False}
    environment = {"FILES": {"opencode.json": json.dumps(settings)}}
    opencode = [programs / "opencode", "run", "-m", f"weir/{model}"]
    return {
        "stream": ([*opencode, HELLO], dict(environment), says(GREETED)),
        "tools": ([*opencode, COMMAND.format("opencode")], dict(environment), says(DONE)),
    }


def qwen_code(url, model, programs, packages, here):
    environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "any", "OPENAI_MODEL": model}
    qwen = [programs / "qwen", "--auth-type", "openai", "--yolo", "-p"]
    return {
        "stream": ([*qwen, HELLO], environment, says(GREETED)),
        "tools": ([*qwen, COMMAND.format("qwen-code")], environment, says(DONE)),
    }


def aider(url, model, programs, packages, here):
    aider = packages.venv(here / "aider.txt").parent / "aider"
    quiet = ["--no-git", "--yes-always", "--no-check-update", "--no-show-model-warnings", "--no-analytics", "--no-pretty"]
    connect = ["--model", f"openai/{model}", "--openai-api-base", f"{url}/v1", "--openai-api-key", "any"]
    ask = [aider, *connect, *quiet, "--message", HELLO]
    return {
        "plain": ([*ask, "--no-stream"], {}, says(GREETED)),
        "stream": ([*ask, "--stream"], {}, says(GREETED)),
    }
