"""What every client is asked to do, and how its script says what came of it.

A script calls `run` with the checks it has: `plain`, `stream` and `tools`, each a function that returns the text the client ended with
(for `stream` a list of its pieces). It gets the server's address and the model's name from the command line and prints one JSON
object: for each check null, or what went wrong.
"""

import json
import sys
import traceback

HELLO = "Say hello."
WEATHER = "What is the weather in Xanadu?"
DEGREES = "22 degrees in Xanadu"
ANSWERS = {"plain": "Hello from weir", "stream": "Hello from weir", "tools": "It is 22 degrees in Xanadu."}


def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Which city.
    """
    return f"22 degrees in {city}"


def target():
    """The server's address without `/v1`, and the model's name."""
    return sys.argv[1], sys.argv[2]


def run(**checks):
    results = {}
    for name, check in checks.items():
        try:
            said = check()
            if name == "stream":
                assert len(said) > 2, f"{len(said)} pieces"
                said = "".join(said)
            assert ANSWERS[name] in said, said
            results[name] = None
        except Exception as error:
            traceback.print_exc()
            results[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps(results), flush=True)
