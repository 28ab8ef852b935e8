"""`weir bench` against `weir serve`, over HTTP. What the same load is to the engine alone, `speed` measures later."""

import models
from weir_process import Server, bench


def run(plan, name, outcome):
    folder = models.folder(plan, name)
    sizes = plan.sizes
    most = max(sizes.clients)
    options = ["--max-num-seqs", most, "--max-num-batched-tokens", sizes.step_tokens, "--max-queue", 4 * most]
    options += ["--accept-any-model", "--max-model-len", 512 if sizes.tiny else 4096]
    with Server(plan, folder, *map(str, options)) as server:
        load = ["--endpoint", "completions", "--model", "any", "--concurrency", ",".join(map(str, sizes.clients))]
        load += ["--input-tokens", str(sizes.words), "--output-tokens", str(sizes.answer), "--timeout", "100"]
        found = bench(plan, server.url, *load)
    rows, levels = [], []
    for level in found["levels"]:
        side = level["server"]
        median = side["median"]
        ttft, gap = median["ttft_ms"], median["itl_ms"]
        rows.append([
            level["concurrency"],
            f"{side['failed']} of {side['sent']}",
            f"{median['prompt_tokens']:.0f} / {median['completion_tokens']:.0f}",
            median["output_throughput"],
            f"{ttft['p50']:.0f} / {ttft['p99']:.0f}",
            f"{gap['p50']:.1f} / {gap['p99']:.1f}",
        ])
        outcome.goal(f"{level['concurrency']} clients over HTTP: requests that failed", side["failed"], at_most=0)
        levels.append({
            "clients": level["concurrency"],
            "requests": level["requests"],
            "prompt_tokens": round(median["prompt_tokens"]),
            "rate": median["output_throughput"],
        })
    head = ["clients", "failed", "tokens in / out", "output tok/s", "first token, ms: p50 / p99", "gap, ms: p50 / p99"]
    outcome.table(f"{name} over HTTP", head, rows)
    outcome.figures = {"levels": levels}
