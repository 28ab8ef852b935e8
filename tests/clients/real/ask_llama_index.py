"""LlamaIndex: its class for servers like OpenAI's, and its agent, which streams."""

import asyncio

from asked import HELLO, WEATHER, answer, get_weather, target
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

url, name = target()
kind = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 8192}
model = OpenAILike(model=name, api_base=f"{url}/v1", api_key="any", max_retries=0, **kind)
hello = [ChatMessage(role="user", content=HELLO)]


async def agent():
    return str(await FunctionAgent(tools=[get_weather], llm=model, system_prompt="Help.").run(WEATHER))


answer(
    plain=lambda: model.chat(hello).message.content,
    stream=lambda: [part.delta for part in model.stream_chat(hello) if part.delta],
    tools=lambda: asyncio.run(agent()),
)
