"""Talks to weir with the ordinary openai package: an answer, a stream, a tool call.

pip install openai, start the server (cargo run --release), then: python examples/clients/chat.py
"""

import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("WEIR_URL", "http://127.0.0.1:8000/v1"), api_key="any")
model = client.models.list().data[0].id

answer = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "What is the capital of France?"}],
    max_tokens=40,
)
print(answer.choices[0].message.content)
print(answer.usage)

stream = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Count to five."}],
    max_tokens=40,
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

# A model this small rarely calls a tool; serve a larger one, or `--model replay:FILE.jsonl`, to see a call.
answer = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "What is the weather in Paris?"}],
    tools=[
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Current weather of a city",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            },
        }
    ],
    max_tokens=80,
)
message = answer.choices[0].message
for call in message.tool_calls or []:
    print("call:", call.function.name, call.function.arguments)
if message.content:
    print(message.content)
