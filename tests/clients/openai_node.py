"""openai-node against weir: starts the servers that openai_node.mjs asks. Usage: openai_node.py PATH_OF_WEIR FOLDER

FOLDER is where npm installed package.json's packages; modules are found beside a script only, so the script is copied there.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from server import server

HERE = Path(__file__).parent


def main():
    weir, folder = sys.argv[1:]
    script = shutil.copy(HERE / "openai_node.mjs", folder)
    parsers = ("--tool-call-parser", "deepseek_v3", "--reasoning-parser", "deepseek_r1")
    with (
        server(weir, f"replay:{HERE / 'deepseek.jsonl'}", "--served-model-name", "deepseek", *parsers) as chat,
        server(weir, str(HERE.parent / "tiny_models/bert-mean")) as embedding,
    ):
        return subprocess.run(["node", script, chat, embedding]).returncode


sys.exit(main())
