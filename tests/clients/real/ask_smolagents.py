"""smolagents: its model for servers like OpenAI's, and the agent that calls tools.

That agent ends by calling `final_answer`, so it is asked about another city: what a model says to that city's weather is such a call.
"""

from asked import HELLO, answer, get_weather, target
from smolagents import OpenAIModel, ToolCallingAgent, tool

url, name = target()
connection = {"model_id": name, "api_base": f"{url}/v1", "api_key": "any"}
hello = [{"role": "user", "content": [{"type": "text", "text": HELLO}]}]


def tools():
    # By itself the agent asks for `tool_choice: "required"`; parameters that a model is given go before its own.
    model = OpenAIModel(**connection, tool_choice="auto")
    return str(ToolCallingAgent(tools=[tool(get_weather)], model=model, max_steps=3).run("What is the weather in Avalon?"))


answer(
    plain=lambda: OpenAIModel(**connection).generate(hello).content,
    stream=lambda: [part.content for part in OpenAIModel(**connection).generate_stream(hello) if part.content],
    tools=tools,
)
