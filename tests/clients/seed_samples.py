"""The sample clients of the documents in tests/seeds, called as there and read as there, against weir replaying texts.

Usage: seed_samples.py PATH_OF_WEIR FOLDER; npm installed package.json's packages in FOLDER. Only the address differs from the
documents, and weir has the options of tests/seeds/servers.json. Requests that a document sends by curl are read from its
examples.jsonl; ways of reading an answer cannot be, and stand here and in seed_samples.mjs.
"""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import openai
import requests

from server import server

HERE = Path(__file__).parent
SEEDS = HERE.parent / "seeds"
SETUPS = json.loads((SEEDS / "servers.json").read_text())
CHECKS = []


def of(setup):
    """A check that wants the server of this name; it is called with its address."""
    return lambda check: CHECKS.append((setup, check.__name__.replace("_", " "), check))


def examples(document):
    return [json.loads(line) for line in (SEEDS / document / "examples.jsonl").read_text().splitlines()]


def printed(sample, *arguments):
    """What a sample prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        sample(*arguments)
    return output.getvalue()


def ask_by_requests(url, data):
    """LightLLM's guide: a whole answer."""
    response = requests.post(f"{url}/v1/chat/completions", headers={"Content-Type": "application/json"}, json=data)
    if response.status_code == 200:
        message = response.json()["choices"][0]["message"]
        if message.get("tool_calls"):
            for tool_call in message["tool_calls"]:
                print(f"{tool_call['function']['name']} {tool_call['function']['arguments']}")
        else:
            print(message["content"])
    else:
        print("error:", response.status_code, response.text)


def stream_by_requests(url, data):
    """LightLLM's guide: lines of a stream, and the name in every delta of a call."""
    response = requests.post(f"{url}/v1/chat/completions", headers={"Content-Type": "application/json"}, json=data, stream=True)
    assert response.status_code == 200, response.text
    for line in response.iter_lines():
        if not line:
            continue
        line = line.decode("utf-8")
        if not line.startswith("data: "):
            continue
        rest = line[6:]
        if rest == "[DONE]":
            break
        delta = json.loads(rest)["choices"][0]["delta"]
        if delta.get("content"):
            print(delta["content"], end="", flush=True)
        if delta.get("tool_calls"):
            for tool_call in delta["tool_calls"]:
                print(f"[{tool_call['function']['name']}]", end="")
                if tool_call["function"].get("arguments"):
                    print(tool_call["function"]["arguments"], end="")


def body(document, name):
    (found,) = [example["body"] for example in examples(document) if example["name"] == name]
    return found


@of("lightllm")
def lightllm_by_requests(url):
    assert printed(ask_by_requests, url, body("lightllm", "a simple conversation")) == "你好，我是一个助手。\n"
    assert printed(stream_by_requests, url, body("lightllm", "a streamed conversation")) == "人工智能正在改变我们的生活。"
    call = printed(ask_by_requests, url, body("lightllm", "function calling"))
    assert call == 'get_current_weather {"city": "北京", "unit": "celsius"}\n', call


@of("lightllm, the name in every delta")
def lightllm_streamed_calls_by_requests(url):
    data = body("lightllm", "streamed function calling, whose client reads the name in every delta")
    text = printed(stream_by_requests, url, data)
    assert text.startswith("我来计算。\n[calculate]"), text
    assert text.replace("[]", "").endswith('{"expression": "25 * 4 + 10"}'), text


@of("lightllm")
def lightllm_streamed_calls_need_the_option(url):
    data = body("lightllm", "streamed function calling, whose client reads the name in every delta")
    with contextlib.suppress(KeyError):
        printed(stream_by_requests, url, data)
        raise AssertionError("the option is not needed any more: say so in servers.json")


@of("ksanallm")
def ksanallm_by_openai_python(url):
    client = openai.OpenAI(api_key="dummy-key", base_url=f"{url}/v1")
    messages = [
        {"role": "system", "content": "你是一个有帮助的助手。"},
        {"role": "user", "content": "你好，请介绍一下你自己。"},
    ]
    response = client.chat.completions.create(model="ksana-llm", messages=messages, max_tokens=1000)
    assert response.choices[0].message.content == "你好，我是一个助手。"


@of("openkimi")
def openkimi_by_openai_python(url):
    client = openai.OpenAI(api_key="any words", base_url=f"{url}/v1")
    messages = [
        {"role": "system", "content": "这是需要处理的长文档内容..."},
        {"role": "user", "content": "请根据文档回答这个问题？"},
    ]
    response = client.chat.completions.create(model="openkimi-model", messages=messages, max_tokens=500)
    assert response.choices[0].message.content == "这是根据文档的回答。"
    text = ""
    for chunk in client.chat.completions.create(model="openkimi-model", messages=messages, max_tokens=500, stream=True):
        if chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    assert text == "这是根据文档的回答。", text


@of("openkimi")
def openkimis_key_of_chinese_letters(url):
    # Its guide has such a key. The client refuses to send it, wherever to; curl sends it, and it is as good as any.
    key = "随便填写"
    with contextlib.suppress(UnicodeEncodeError):
        openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0).models.list()
        raise AssertionError("the client sends it: use it in openkimi_by_openai_python")
    status, text = curl("GET", f"{url}/v1/models", {"Authorization": f"Bearer {key}"}, None)
    assert status == 200, text


@of("vllm")
def vllm_guide_by_openai_python(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="dummy")
    model = "qwen2.5-coder-32b-instruct"
    messages = [{"role": "system", "content": "你是一个专业的编程助手"}, {"role": "user", "content": "写一个Python快速排序"}]
    response = client.chat.completions.create(model=model, messages=messages, temperature=0.7, max_tokens=1000)
    assert response.choices[0].message.content == "def quicksort(items): ..."
    text = ""
    for chunk in client.chat.completions.create(model=model, messages=[{"role": "user", "content": "解释Docker的原理"}], stream=True):
        if chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    assert text == "Docker 是一个容器平台。", text
    example = body("vllm", "Python, function calling")
    message = client.chat.completions.create(**example).choices[0].message
    (call,) = message.tool_calls
    assert call.function.name == "execute_code"
    assert json.loads(call.function.arguments) == {"code": "sum(range(1, 101))"}


@of("vllm")
def vllm_guides_turns_with_tools(url):
    first = body("vllm", "turns with tools: the first")
    tools, messages = first["tools"], first["messages"]
    address = f"{url}/v1/chat/completions"
    answer = requests.post(address, json={**first, "tool_choice": "auto"}).json()
    # It goes back as it came.
    message = answer["choices"][0]["message"]
    messages.append(message)
    assert message.get("tool_calls"), answer
    for tool_call in message["tool_calls"]:
        assert tool_call["function"]["name"] == "search_code"
        assert json.loads(tool_call["function"]["arguments"])["language"] == "Python"
        messages.append({"role": "tool", "tool_call_id": tool_call["id"], "content": "找到文件：algorithms/sorting.py"})
    answer = requests.post(address, json={"model": first["model"], "messages": messages, "tools": tools}).json()
    assert answer["choices"][0]["message"]["content"] == "在 algorithms/sorting.py 里。", answer


def curl(method, url, headers, data):
    """Status and text of what curl gets."""
    command = ["curl", "-sS", "--noproxy", "*", "-X", method, url, "-w", "\n%{http_code}"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if data is not None:
        command += ["-d", json.dumps(data, ensure_ascii=False)]
    text, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rsplit("\n", 1)
    return int(status), text


def by_curl(setup, document):
    def check(url):
        sent = [example for example in examples(document) if example.get("client") == "curl" and example["server"] == setup]
        assert sent, "nothing is sent by curl"
        for example in sent:
            status, text = curl(example["method"], url + example["path"], example["headers"], example.get("body"))
            assert status == example["status"], (example["name"], status, text)
            if example.get("stream"):
                assert text.startswith("data: {") and text.rstrip().endswith("data: [DONE]"), (example["name"], text)
            else:
                json.loads(text)

    return check


for setup, document in [("ksanallm", "ksanallm"), ("openkimi", "openkimi"), ("dynamo", "dynamo"), ("vllm", "vllm"), ("vllm, with a key", "vllm")]:
    CHECKS.append((setup, f"{setup}: what is sent by curl", by_curl(setup, document)))


def by_node(document, folder):
    def check(url):
        script = shutil.copy(HERE / "seed_samples.mjs", folder)
        subprocess.run(["node", script, document, url], check=True)

    return check


def main():
    weir, folder = sys.argv[1:]
    for document in ("openkimi", "vllm"):
        CHECKS.append((document, f"{document}: JavaScript", by_node(document, folder)))
    passed = failed = 0
    for setup in SETUPS:
        checks = [(name, check) for wanted, name, check in CHECKS if wanted == setup]
        if not checks:
            continue
        answers = SEEDS / SETUPS[setup].get("answers", setup) / "answers.jsonl"
        with server(weir, f"replay:{answers}", *SETUPS[setup]["flags"]) as url:
            for name, check in checks:
                try:
                    check(url)
                    passed += 1
                except Exception:
                    failed += 1
                    print(f"FAILED {name}")
                    traceback.print_exc()
    print(f"seed_samples: {passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
