"""LangChain's ChatOpenAI."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from checks import HELLO, WEATHER, get_weather, run, target

url, name = target()
model = ChatOpenAI(base_url=f"{url}/v1", api_key="any", model=name)


def tools():
    weather = tool(get_weather)
    bound = model.bind_tools([weather])
    messages = [HumanMessage(WEATHER)]
    answer = bound.invoke(messages)
    messages.append(answer)
    messages += [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    return bound.invoke(messages).content


run(
    plain=lambda: model.invoke(HELLO).content,
    stream=lambda: [chunk.content for chunk in model.stream(HELLO) if chunk.content],
    tools=tools,
)
