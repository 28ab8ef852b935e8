"""openai-agents, over /v1/responses as it does by default."""

import asyncio

from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from checks import HELLO, WEATHER, get_weather, run, target

url, name = target()
set_tracing_disabled(True)
model = OpenAIResponsesModel(model=name, openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="any"))


async def stream():
    answer = Runner.run_streamed(Agent(name="a", model=model), HELLO)
    events = [event async for event in answer.stream_events()]
    return [event.data.delta for event in events if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"]


run(
    plain=lambda: asyncio.run(Runner.run(Agent(name="a", model=model), HELLO)).final_output,
    stream=lambda: asyncio.run(stream()),
    tools=lambda: asyncio.run(Runner.run(Agent(name="a", model=model, tools=[function_tool(get_weather)]), WEATHER)).final_output,
)
