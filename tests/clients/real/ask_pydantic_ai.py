"""pydantic-ai."""

import asyncio

from asked import HELLO, WEATHER, answer, get_weather, target
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

url, name = target()
model = OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


async def stream():
    async with Agent(model).run_stream(HELLO) as said:
        return [piece async for piece in said.stream_text(delta=True, debounce_by=None)]


answer(
    plain=lambda: Agent(model).run_sync(HELLO).output,
    stream=lambda: asyncio.run(stream()),
    tools=lambda: Agent(model, tools=[get_weather]).run_sync(WEATHER).output,
)
