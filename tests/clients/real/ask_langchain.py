"""LangChain's ChatOpenAI. A call comes in a stream, its result goes back without one."""

import functools
import operator

from asked import HELLO, WEATHER, answer, get_weather, target
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from visitor import INVENT, MAX_TOKENS, Visitor

url, name = target()
model = ChatOpenAI(base_url=f"{url}/v1", api_key="any", model=name, max_retries=0)


def tools():
    weather = tool(get_weather)
    bound = model.bind_tools([weather])
    messages = [HumanMessage(WEATHER)]
    called = functools.reduce(operator.add, bound.stream(messages))
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
    return bound.invoke([*messages, called, *results]).content


def structured():
    """By a schema, as it does by default, and by a tool that is forced."""
    bounded = ChatOpenAI(base_url=f"{url}/v1", api_key="any", model=name, max_retries=0, max_tokens=MAX_TOKENS)
    methods = ["json_schema", "function_calling"]
    visitors = [bounded.with_structured_output(Visitor, method=method).invoke(INVENT) for method in methods]
    return [visitor.model_dump_json() for visitor in visitors]


answer(
    plain=lambda: model.invoke(HELLO).content,
    stream=lambda: [chunk.content for chunk in model.stream(HELLO) if chunk.content],
    tools=tools,
    structured=structured,
)
