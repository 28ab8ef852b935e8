"""A post-processor that leaves out the white space at the end of an answer.

What it emits folds to the same message however the text is cut: white space is held until other text follows.
"""

from wit_world import exports
from wit_world.exports.post_processor import Action_Emit, Info, Interests, Outcome
from wit_world.imports.types import Event_Content, Fragment, FragmentKind

held = ""  # white space that is the answer's end, for all we know
actions = []


class PostProcessor(exports.PostProcessor):
    """The contract's functions. An instance is one answer, so its state may stand beside it."""

    def describe(self, config):
        return Info(name="{{name}}", version="0.1.0", interests=Interests.CONTENT, default_config="")

    def start(self, config, context):
        pass

    def push(self, event):
        global held
        if not isinstance(event, Event_Content):
            return Outcome.PASS
        text = event.value.text
        kept = text.rstrip()
        white = text[len(kept) :]
        if kept == "":
            held += white
            return Outcome.HOLD
        before, held = held, white
        if before == "" and white == "":
            return Outcome.PASS  # as it came: no text crosses back
        actions.append(Action_Emit(Event_Content(Fragment(before + kept, FragmentKind.TEXT))))
        return Outcome.ACTIONS

    def take_actions(self):
        global actions
        taken, actions = actions, []
        return taken

    def finish(self, reason):
        return []
