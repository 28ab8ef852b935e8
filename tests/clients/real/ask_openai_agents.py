"""openai-agents, over /v1/responses as it does by default."""

import asyncio

from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from asked import HELLO, WEATHER, answer, get_weather, target
from openai import AsyncOpenAI

url, name = target()
set_tracing_disabled(True)
model = OpenAIResponsesModel(model=name, openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0))


def agent(*tools):
    return Agent(name="Helper", instructions="Be brief.", model=model, tools=list(tools))


def run(question, *tools):
    return asyncio.run(Runner.run(agent(*tools), question)).final_output


async def stream():
    events = Runner.run_streamed(agent(), HELLO).stream_events()
    raw = [event.data async for event in events if event.type == "raw_response_event"]
    return [event.delta for event in raw if event.type == "response.output_text.delta"]


answer(
    plain=lambda: run(HELLO),
    stream=lambda: asyncio.run(stream()),
    tools=lambda: run(WEATHER, function_tool(get_weather)),
)
