#!/bin/sh
# The flags that LightLLM's guide starts its server with. More flags may follow; the last of a flag counts:
#   MODEL_DIR=/path/to/your/model examples/starting/light_llm.sh --host 0.0.0.0
# Its clients send a model name of their own, so weir answers to any.
exec weir \
    --model_dir "${MODEL_DIR:-/path/to/your/model}" \
    --port 8088 \
    --tp 1 \
    --tool_call_parser qwen25 \
    --accept_any_model \
    "$@"
