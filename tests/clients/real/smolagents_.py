"""smolagents: its model for servers like OpenAI's, and an agent that calls tools."""

from smolagents import OpenAIModel, ToolCallingAgent, tool

from checks import HELLO, WEATHER, run, target

url, name = target()
model = OpenAIModel(model_id=name, api_base=f"{url}/v1", api_key="any")


@tool
def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Which city.
    """
    # Other degrees than elsewhere: what the model says to them is a call of the agent's own `final_answer`.
    return f"23 degrees in {city}"


def messages():
    return [{"role": "user", "content": [{"type": "text", "text": HELLO}]}]


def tools():
    return str(ToolCallingAgent(tools=[get_weather], model=model, max_steps=3).run(WEATHER))


run(
    plain=lambda: model.generate(messages()).content,
    stream=lambda: [part.content for part in model.generate_stream(messages()) if part.content],
    tools=tools,
)
