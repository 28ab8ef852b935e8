"""LlamaIndex, its class for servers like OpenAI's and its agent."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from checks import HELLO, WEATHER, get_weather, run, target

url, name = target()
model = OpenAILike(
    model=name, api_base=f"{url}/v1", api_key="any", is_chat_model=True, is_function_calling_model=True, context_window=8192
)


async def agent():
    return str(await FunctionAgent(tools=[get_weather], llm=model, system_prompt="Help.").run(WEATHER))


run(
    plain=lambda: model.chat([ChatMessage(role="user", content=HELLO)]).message.content,
    stream=lambda: [part.delta for part in model.stream_chat([ChatMessage(role="user", content=HELLO)]) if part.delta],
    tools=lambda: asyncio.run(agent()),
)
