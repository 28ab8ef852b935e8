"""The clients, and how each is asked: a library by its script beside this file, a program by its command line and its own configuration.

Nothing here says what is right; run.py does.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
ANY_KEY = "any"
#: LiteLLM else fetches what hosted models cost.
LOCAL_PRICES = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@dataclasses.dataclass
class Server:
    """Whom to ask: its address without `/v1`, its model, and how many tokens that can hold."""

    url: str
    model: str
    context: int


@dataclasses.dataclass
class Command:
    """What to start: `files` are written below its home first, `pieces` finds in its output what the client said, in parts."""

    arguments: list
    environment: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)
    pieces: Callable = lambda output: [output]


@dataclasses.dataclass
class Client:
    """`command(place, server, check)` is how it is asked. `fits`: its prompts fit 8,192 tokens.
    `checks` are the turns it has, as run.py calls them."""

    name: str
    pins: str
    command: Callable
    fits: bool = True
    note: str = ""
    #: What the tool says, and what the model then says.
    tool: tuple = ("22 degrees in ", "It is 22 degrees in ")
    checks: tuple = ("plain", "stream", "tools")


def list_of_texts(output):
    """What a script beside this file prints last; its library may print before."""
    return json.loads(output.splitlines()[-1])


def python(script, environment=None):
    def command(place, server, check):
        return Command([place, HERE / script, server.url, server.model, check], environment or {}, pieces=list_of_texts)

    return command


def rust(place, server, check):
    return Command([place, server.url, server.model, check], pieces=list_of_texts)


def vercel_ai(place, server, check):
    # Modules are found beside a script only.
    script = "ask_vercel_ai.mjs"
    link = place.parent / script
    link.unlink(missing_ok=True)
    link.write_bytes((HERE / script).read_bytes())
    return Command(["node", link, server.url, server.model, check], pieces=list_of_texts)


def question(check, name):
    return f"Please run the numbered command with {name}." if check == "tools" else "Say hello."


def lines_of_json(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def text_deltas(output):
    """The pieces in the events that Claude Code, and after it Qwen Code, write: Anthropic's, each in an envelope."""
    events = [line["event"] for line in lines_of_json(output) if line["type"] == "stream_event"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return [delta["text"] for delta in deltas if delta["type"] == "text_delta"]


def claude_code(place, server, check):
    environment = {
        "ANTHROPIC_BASE_URL": server.url,
        "ANTHROPIC_API_KEY": ANY_KEY,
        "ANTHROPIC_MODEL": server.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": server.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    ask = [place / ".bin/claude", "-p", question(check, "Claude"), "--allowedTools", "Bash"]
    if check != "stream":
        return Command(ask, environment)
    return Command([*ask, "--output-format", "stream-json", "--verbose", "--include-partial-messages"], environment, pieces=text_deltas)


def codex(place, server, check):
    settings = f"""
        model = "{server.model}"
        model_provider = "weir"
        sandbox_mode = "danger-full-access"
        check_for_update_on_startup = false
        [analytics]
        enabled = false
        [model_providers.weir]
        name = "weir"
        base_url = "{server.url}/v1"
        wire_api = "responses"
        request_max_retries = 0
        stream_max_retries = 0
    """
    ask = [place / ".bin/codex", "exec", "--skip-git-repo-check", question(check, "Codex")]
    if check == "stream":
        ask += ["--json"]
    return Command(ask, files={".codex/config.toml": settings})


def opencode(place, server, check):
    models = {server.model: {"limit": {"context": server.context, "output": 256}}}
    provider = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{server.url}/v1", "apiKey": ANY_KEY}, "models": models}
    settings = {
        "provider": {"weir": provider},
        "model": f"weir/{server.model}",
        "small_model": f"weir/{server.model}",
        "permission": {"bash": "allow"},
        "autoupdate": False,
        "share": "disabled",
    }
    environment = dict.fromkeys(("OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_LSP_DOWNLOAD", "OPENCODE_DISABLE_DEFAULT_PLUGINS"), "1")
    ask = [place / ".bin/opencode", "run", question(check, "opencode")]
    if check == "stream":
        ask += ["--format", "json"]
    return Command(ask, environment, files={".config/opencode/opencode.json": json.dumps(settings)})


def qwen_code(place, server, check):
    environment = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": ANY_KEY, "OPENAI_MODEL": server.model}
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "general": {"enableAutoUpdate": False},
        "privacy": {"usageStatisticsEnabled": False},
    }
    files = {".qwen/settings.json": json.dumps(settings)}
    ask = [place / ".bin/qwen", "--yolo", "--prompt", question(check, "Qwen")]
    if check != "stream":
        return Command(ask, environment, files)
    return Command([*ask, "--output-format", "stream-json", "--include-partial-messages"], environment, files, text_deltas)


def aider(place, server, check):
    connection = ["--model", f"openai/{server.model}", "--openai-api-base", f"{server.url}/v1", "--openai-api-key", ANY_KEY]
    quiet = ["--no-git", "--yes-always", "--no-check-update", "--no-show-release-notes", "--no-show-model-warnings"]
    quiet += ["--analytics-disable", "--no-pretty"]
    stream = "--stream" if check == "stream" else "--no-stream"
    ask = [place.parent / "aider", *connection, *quiet, stream, "--message", question(check, "aider")]
    return Command(ask, LOCAL_PRICES, pieces=aider_answer)


def aider_answer(output):
    """What stands between the last line of aider's banner and its count of tokens."""
    return [output.partition("\nRepo-map: disabled\n")[2].partition("\nTokens: ")[0]]


COMMAND = ("It-is-done-42", "The command printed its number.")
BOUND = ("plain", "stream", "tools", "structured")
CLIENTS = [
    Client("openai-python", "pins/openai_python.txt", python("ask_openai.py"), checks=BOUND),
    Client("instructor", "pins/instructor.txt", python("ask_instructor.py"), checks=("structured",)),
    Client("async-openai (Rust)", "async_openai", rust),
    Client("LangChain", "pins/langchain.txt", python("ask_langchain.py"), checks=BOUND, note="langchain-openai"),
    Client("LiteLLM", "pins/litellm.txt", python("ask_litellm.py", LOCAL_PRICES), note="with its extra `mcp`, which its tool calls import"),
    Client("Vercel AI SDK", "pins/vercel_ai.json", vercel_ai, checks=BOUND, note="with @ai-sdk/openai-compatible"),
    Client("LlamaIndex", "pins/llama_index.txt", python("ask_llama_index.py"), note="llama-index-llms-openai-like"),
    Client("pydantic-ai", "pins/pydantic_ai.txt", python("ask_pydantic_ai.py"), checks=BOUND),
    Client("openai-agents", "pins/openai_agents.txt", python("ask_openai_agents.py"), checks=BOUND),
    Client("anthropic-python", "pins/anthropic.txt", python("ask_anthropic.py")),
    Client("smolagents", "pins/smolagents.txt", python("ask_smolagents.py"), note='model made with its option tool_choice="auto"'),
    Client("Claude Code", "pins/claude_code.json", claude_code, fits=False, tool=COMMAND),
    Client("Codex CLI", "pins/codex.json", codex, fits=False, tool=COMMAND),
    Client("opencode", "pins/opencode.json", opencode, tool=COMMAND),
    Client("qwen-code", "pins/qwen_code.json", qwen_code, fits=False, tool=COMMAND),
    Client("aider", "pins/aider.txt", aider, checks=("plain", "stream"), note="has no tools: it edits by what the answer says"),
]
