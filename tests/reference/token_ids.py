"""Compares weir's token ids and texts with the reference tokenizers', on tests/corpora/tokenizers/strings.jsonl.

Usage: token_ids.py TOKENIZE [NAME ...] [--write]; TOKENIZE is the built example `tokenize` of weir-prompt, the names are
those of token_families.py. It prints a table in Markdown and says the first differences on standard error; it fails when
ids or texts of the strings differ. `--write` writes tests/corpora/tokenizers/NAME.txt: of each string the hash of
the reference's ids, and of their text where it is not the string. Needs `pip install -r token_ids.txt`, and npm.

The ids are those of a text in which special tokens may be written; `plain` are those where they are text. Decoding is of
each string's ids, and of 500 lists of ids that no text has: random ones, bytes of characters apart, special tokens among
them. Streaming is one id after the other: no piece may cut a character, and together they are the whole.
"""

import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from token_families import FAMILIES

CORPUS = pathlib.Path(__file__).parent.parent / "corpora" / "tokenizers"
LISTS = 500
SHOWN = 5


def weir(tokenize, source, lines, *flags):
    """What the example answers to each line."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([tokenize, str(source), *flags], input=text.encode(), capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode().strip())
    return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


def id_lists(reference, texts):
    """Lists of ids that no text need have: any ids, ids whose bytes are no character alone, cut texts."""
    chosen = random.Random("weir id lists")
    control = getattr(reference, "control", set())
    usable = [id for id in range(reference.size) if id not in control]
    broken = [id for id in usable if "\ufffd" in reference.decode([id])]
    for index in range(LISTS):
        length = chosen.randint(1, 24)
        if index % 3 == 0 or not broken:
            ids = chosen.choices(usable, k=length)
        elif index % 3 == 1:
            ids = chosen.choices(broken, k=length)
        else:
            ids = list(chosen.choice(texts))
            ids = ids[chosen.randint(0, len(ids)) :][:length]
        if reference.special and index % 2:
            ids.insert(chosen.randint(0, len(ids)), chosen.choice(reference.special))
        yield ids


def differences(label, given, expected, got, counts, excuse=None):
    """Counts what is equal and shows the first that is not; `excuse` gives other ids that are right, or None."""
    different = [index for index in range(len(expected)) if expected[index] != got[index]]
    wrong = [index for index in different if not excuse or excuse(given[index]) != got[index]]
    for index in wrong[:SHOWN]:
        print(f"{label}: {given[index]!r}\n    expected {expected[index]!r}\n    got      {got[index]!r}", file=sys.stderr)
    excused = f", {len(different) - len(wrong)} excused" if len(wrong) < len(different) else ""
    counts.append(f"{len(expected) - len(different)} of {len(expected)}{excused}")
    return len(wrong)


def streamed(answers):
    """The text that the pieces make, or what is wrong with them."""
    return ["".join(answer["stream"]) for answer in answers]


def compare(family, form, source, strings, tokenize):
    """The row of a form, and how many strings are not as the reference has them."""
    reference, label, counts = family.reference, f"{family.name}, {form}", []
    excuse = family.excused.get(form)
    lines = [{"text": text} for text in strings]
    wrong = 0
    if reference.encode:
        expected = [reference.encode(text) for text in strings]
        got = [answer["ids"] for answer in weir(tokenize, source, lines)]
        wrong += differences(label, strings, expected, got, counts, excuse)
    else:
        counts.append("")
    if form == "GGUF, of a model":  # which says itself what is special
        counts.append("")
    else:
        plain = reference.gguf_plain if form == "GGUF" else reference.plain
        expected_plain = [plain(text) for text in strings]
        got = [answer["ids"] for answer in weir(tokenize, source, lines, "--plain")]
        wrong += differences(label + ", plain", strings, expected_plain, got, counts, excuse)
    ids = expected if reference.encode else expected_plain
    if not family.decodes:
        return [*counts, "", "", "", ""], wrong
    lists = list(id_lists(reference, ids))
    answers = weir(tokenize, source, [{"ids": one} for one in ids + lists])
    texts = [reference.decode(one) for one in ids] + [reference.decode_list(one) for one in lists]
    for name, got in (("decode", [answer["text"] for answer in answers]), ("stream", streamed(answers))):
        wrong += differences(f"{label}, {name}", ids, texts[: len(ids)], got[: len(ids)], counts)
        differences(f"{label}, {name} of lists", lists, texts[len(ids) :], got[len(ids) :], counts)
    return counts, wrong


def write(family, strings):
    reference = family.reference
    short = lambda text: hashlib.sha256(text.encode()).hexdigest()[:8]
    rows = []
    for text in strings:
        ids = (reference.encode or reference.plain)(text)
        decoded = reference.decode(ids)
        rows.append(short(",".join(map(str, ids))) + (f" {short(decoded)}" if decoded != text and family.decodes else ""))
    (CORPUS / f"{family.name}.txt").write_text("\n".join(rows) + "\n", newline="\n")


def main():
    names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    tokenize, names = names[0], names[1:] or list(FAMILIES)
    lines = (CORPUS / "strings.jsonl").read_bytes().decode().split("\n")[:-1]
    strings = [json.loads(line) for line in lines]
    print("| family | vocabulary | reference | form | ids | plain | decode | decode, lists | stream | stream, lists |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    failed = 0
    for name in names:
        family = FAMILIES[name]()
        if "--write" in sys.argv and not family.strings:
            write(family, strings)
        for form, source in family.forms.items():
            with tempfile.TemporaryDirectory() as folder:
                try:
                    counts, wrong = compare(family, form, source(pathlib.Path(folder)), family.strings or strings, tokenize)
                except RuntimeError as error:
                    counts, wrong = [f"refused: {error}", *[""] * 5], 1
            failed += wrong
            print(f"| {name} | {family.package} | {family.library} | {form} | {' | '.join(counts)} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
