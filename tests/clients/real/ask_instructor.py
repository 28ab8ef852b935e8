"""instructor over openai-python: by a tool that is forced, as it does by default, and by a schema; what is wrong is not asked again."""

import instructor
from asked import answer, target
from openai import OpenAI
from visitor import INVENT, MAX_TOKENS, Visitor

url, name = target()


def structured():
    visitors = []
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0), mode=mode)
        messages = [{"role": "user", "content": INVENT}]
        create = client.chat.completions.create
        visitors.append(create(model=name, messages=messages, response_model=Visitor, max_retries=0, max_tokens=MAX_TOKENS))
    return [visitor.model_dump_json() for visitor in visitors]


answer(structured=structured)
