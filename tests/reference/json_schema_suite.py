"""Prints the folders of the JSON-Schema-Test-Suite for draft 2020-12, a line each: its keywords, what is optional, and its formats.

    python3 tests/reference/json_schema_suite.py

The source package of Python's jsonschema carries the suite; it is fetched once (packages.py), and nothing of it is run.
"""

import packages

VERSION = "4.25.1"
SHA256 = "e4a9655ce0da0c0b67a085847e00a3a51449e1157f4f75e9fb5aa545e122eb85"

if __name__ == "__main__":
    name = f"jsonschema-{VERSION}"
    package = packages.pypi("jsonschema", VERSION, SHA256, f"{name}.tar.gz")
    keywords = package / name / "json" / "tests" / "draft2020-12"
    print(keywords, keywords / "optional", keywords / "optional" / "format", sep="\n")
