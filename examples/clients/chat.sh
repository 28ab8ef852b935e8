#!/bin/sh
# One chat answer, then the same as a stream. Start the server first: cargo run --release
base=${WEIR_URL:-http://127.0.0.1:8000/v1}

curl -sS "$base/chat/completions" \
    -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 40}'
echo

curl -sS -N "$base/chat/completions" \
    -H 'Content-Type: application/json' \
    -d '{"messages": [{"role": "user", "content": "Count to five."}], "max_tokens": 40, "stream": true, "stream_options": {"include_usage": true}}'
