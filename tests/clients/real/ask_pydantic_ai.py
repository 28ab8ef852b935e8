"""pydantic-ai."""

import asyncio

from asked import HELLO, WEATHER, answer, get_weather, target
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from visitor import INVENT, MAX_TOKENS, Visitor

url, name = target()
model = OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


async def stream():
    async with Agent(model).run_stream(HELLO) as said:
        return [piece async for piece in said.stream_text(delta=True, debounce_by=None)]


def structured():
    """By a tool that is forced, as it does by default, and by a schema."""
    settings = {"max_tokens": MAX_TOKENS}
    outputs = [Visitor, NativeOutput(Visitor)]
    visitors = [Agent(model, output_type=output, retries=0, model_settings=settings).run_sync(INVENT).output for output in outputs]
    return [visitor.model_dump_json() for visitor in visitors]


answer(
    plain=lambda: Agent(model).run_sync(HELLO).output,
    stream=lambda: asyncio.run(stream()),
    tools=lambda: Agent(model, tools=[get_weather]).run_sync(WEATHER).output,
    structured=structured,
)
