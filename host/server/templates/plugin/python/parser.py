"""A tool parser: a line `#call NAME {arguments}` is a call, every other line is content.

The events fold to the same message however the text is cut: a line is held only while it may still be a call, ordinary
text goes on at once. Arguments are not streamed: a call comes out when its line is complete.
"""

import json

from wit_world import exports
from wit_world.exports.parser import CallIds_Any, Info, Outcome, Roles
from wit_world.imports.types import (
    CallAbandoned,
    CallArguments,
    CallBegin,
    Event_CallAbandoned,
    Event_CallArguments,
    Event_CallBegin,
    Event_CallEnd,
    Event_Content,
    FinishReason,
    Fragment,
    FragmentKind,
)

MARKER = "#call "


class Session:
    """One answer's parsing."""

    def __init__(self):
        self.held = ""  # the line so far, while it is or may become a call
        self.content_line = False  # whether the line has turned out to be content
        self.calls = 0
        self.events = []

    def push(self, text):
        for piece in lines(text):
            if self.content_line:
                self.content(piece)
            else:
                self.held += piece
                self.decide()
            if piece.endswith("\n"):
                self.content_line = False

    def decide(self):
        is_call = self.held.startswith(MARKER)
        if is_call and self.held.endswith("\n"):
            self.call(self.take_held(), whole=True)
        elif not is_call and not MARKER.startswith(self.held):
            self.content(self.take_held())
            self.content_line = True

    def finish(self, reason):
        held = self.take_held()
        if held.startswith(MARKER):
            # Out of tokens in the middle of a call: it is not complete, whatever its text looks like.
            self.call(held, whole=reason == FinishReason.STOP)
        else:
            self.content(held)

    def take_held(self):
        held, self.held = self.held, ""
        return held

    def call(self, line, whole):
        raw = line[len(MARKER) :].strip()
        name, _, arguments = raw.partition(" ")
        arguments = arguments.strip() or "{}"
        if not whole or name == "" or not is_object(arguments):
            self.events.append(Event_CallAbandoned(CallAbandoned(self.calls, raw)))
            return
        self.events.append(Event_CallBegin(CallBegin(self.calls, None, name)))
        self.events.append(Event_CallArguments(CallArguments(self.calls, arguments)))
        self.events.append(Event_CallEnd(self.calls))
        self.calls += 1

    def content(self, text):
        if text:
            self.events.append(Event_Content(Fragment(text, FragmentKind.TEXT)))


def lines(text):
    """The lines of a text with their line breaks; `splitlines` would split at more than those."""
    pieces = text.split("\n")
    last = pieces.pop()
    return [piece + "\n" for piece in pieces] + ([last] if last else [])


def not_json(word):
    raise ValueError(word)


def is_object(text):
    """Python's JSON also takes NaN, which is none."""
    try:
        return isinstance(json.loads(text, parse_constant=not_json), dict)
    except (ValueError, RecursionError):
        return False


session = Session()


class Parser(exports.Parser):
    """The contract's functions. An instance is one answer, so the session may stand beside it."""

    def describe(self, config):
        return Info(
            name="{{name}}",
            version="0.1.0",
            roles=Roles.TOOLS,
            aliases=[],
            markers=[MARKER],
            special_tokens=[],
            stop_tokens=[],
            chat_template=None,
            call_ids=CallIds_Any(),
            default_config="",
        )

    def grammar(self, config, context):
        return None

    def start(self, config, context):
        pass

    def push(self, fragment):
        session.push(fragment.text)
        if not session.events:
            return Outcome.HOLD
        if session.events == [Event_Content(fragment)]:
            session.events.clear()
            return Outcome.CONTENT  # as it came: no text crosses back
        return Outcome.EVENTS

    def take_events(self):
        events, session.events = session.events, []
        return events

    def finish(self, reason):
        session.finish(reason)
        return self.take_events()
