"""What every library is asked for, and how its script says what came of it: ask_X.py URL MODEL CHECK

`answer` runs the one of its functions that CHECK names, `plain`, `stream`, `tools` or `structured`, and prints what the client ended
with as a list of texts: one, a stream's pieces, or an object for each way to ask for one. What is right is judged by run.py; a script that raises has failed.
"""

import json
import sys

HELLO = "Say hello."
WEATHER = "What is the weather in Xanadu?"


def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Which city.
    """
    return f"22 degrees in {city}"


def target():
    """The server's address without `/v1`, and the model's name."""
    return sys.argv[1], sys.argv[2]


def answer(**checks):
    said = checks[sys.argv[3]]()
    print(json.dumps(said if isinstance(said, list) else [said]), flush=True)
