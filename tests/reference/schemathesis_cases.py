"""Sends a server requests that schemathesis makes of its OpenAPI document, and judges the answers.

    python3 tests/reference/schemathesis_cases.py http://127.0.0.1:8000 [--cases N] [--seed N] [--output FILE]

An answer must have a documented status, media type and body; 500, 502 and 504 are failures even where they are documented,
501 and 503 are not where they are. Rounds with the next seed follow until there were so many cases. What came of them goes to
FILE (else to standard output) as JSON: the cases and statuses of each operation. schemathesis itself says on standard
output what failed, with a request that shows it; the exit status is 1 then. It is installed once (packages.py).
"""

import argparse
import collections
import json
import sys
import urllib.request
from pathlib import Path

import packages

CHECKS = [
    "documented_or_no_failure",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
]
INNER_FAILURES = (500, 502, 504)
MAX_ROUNDS = 50


def main():
    options = parse_options()
    packages.require("schemathesis", Path(__file__).with_suffix(".txt"))
    with urllib.request.urlopen(f"{options.url}/openapi.json") as document:
        paths = json.load(document)["paths"]
    operations = sum(len(methods) for methods in paths.values())
    counts = watch()
    failed = 0
    for number in range(MAX_ROUNDS):
        left = options.cases - total(counts)
        if left <= 0 or failed:
            break
        failed = run(options.url, options.seed + number, max(1, left // operations))
    result = {"cases": total(counts), "failed": bool(failed), "operations": counts}
    text = json.dumps(result, indent=1, sort_keys=True)
    if options.output:
        options.output.write_text(text + "\n")
    else:
        print(text)
    sys.exit(1 if failed else 0)


def parse_options():
    parser = argparse.ArgumentParser(description="Requests by schemathesis.")
    parser.add_argument("url")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


def watch():
    """Registers bodies and the check of ours, and the count of answers, which it returns: statuses by operation."""
    import schemathesis
    from hypothesis import strategies

    # Files of plugins: none, junk, and the beginnings of a module and of a component.
    beginnings = strategies.sampled_from([b"", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"])
    files = strategies.tuples(beginnings, strategies.binary(max_size=2048)).map(b"".join)
    schemathesis.openapi.media_type("application/wasm", files)
    counts = collections.defaultdict(collections.Counter)

    @schemathesis.check
    def documented_or_no_failure(context, response, case):
        assert response.status_code not in INNER_FAILURES, f"status {response.status_code}"

    @schemathesis.hook
    def after_call(context, case, response):
        counts[f"{case.method} {case.path}"][str(response.status_code)] += 1

    return counts


def total(counts):
    return sum(sum(statuses.values()) for statuses in counts.values())


def run(url, seed, examples):
    """One round; its exit status."""
    from schemathesis.cli import schemathesis as command

    arguments = ["run", f"{url}/openapi.json", "--checks", ",".join(CHECKS), "--seed", str(seed)]
    arguments += ["--max-examples", str(examples), "--request-timeout", "60", "--warnings", "off"]
    arguments += ["--suppress-health-check", "all", "--continue-on-failure", "--generation-database", "none"]
    try:
        command(args=arguments, standalone_mode=True)
    except SystemExit as end:
        return end.code
    return 0


if __name__ == "__main__":
    main()
