"""openai-agents, over /v1/responses as it does by default."""

import asyncio

from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from asked import HELLO, WEATHER, answer, get_weather, target
from openai import AsyncOpenAI
from visitor import INVENT, MAX_TOKENS, Visitor, greet

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


def structured():
    """An agent that ends with a visitor, and one that must call a strict tool, whose result is its own."""
    short = ModelSettings(max_tokens=MAX_TOKENS)
    ends = Agent(name="Clerk", model=model, model_settings=short, output_type=Visitor)
    forced = ModelSettings(max_tokens=MAX_TOKENS, tool_choice="required")
    calls = Agent(name="Porter", model=model, model_settings=forced, tools=[function_tool(greet)], tool_use_behavior="stop_on_first_tool")

    async def both():
        # In one loop, as the connections that the client keeps belong to one.
        return [(await Runner.run(agent, INVENT)).final_output for agent in (ends, calls)]

    visitor, greeted = asyncio.run(both())
    return [visitor.model_dump_json(), greeted]


answer(
    plain=lambda: run(HELLO),
    stream=lambda: asyncio.run(stream()),
    tools=lambda: run(WEATHER, function_tool(get_weather)),
    structured=structured,
)
