"""pydantic-ai."""

import asyncio

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from checks import HELLO, WEATHER, get_weather, run, target

url, name = target()
model = OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


async def stream():
    async with Agent(model).run_stream(HELLO) as answer:
        return [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]


run(
    plain=lambda: Agent(model).run_sync(HELLO).output,
    stream=lambda: asyncio.run(stream()),
    tools=lambda: Agent(model, tools=[get_weather]).run_sync(WEATHER).output,
)
