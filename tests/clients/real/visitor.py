"""What libraries with pydantic ask for within a schema: nothing of it stands in the model's own words, so a valid answer was bound."""

from typing import Literal

from pydantic import BaseModel, Field

INVENT = "Invent a visitor of the museum."
#: An answer of the default model is far shorter.
MAX_TOKENS = 256


class Ticket(BaseModel):
    kind: Literal["adult", "child", "group"]
    rooms: list[Literal["north", "south", "tower"]] = Field(min_length=1, max_length=3)


class Visitor(BaseModel):
    """A visitor of the museum."""

    name: str = Field(max_length=40)
    age: int = Field(ge=1, le=120)
    ticket: Ticket
    guide: str | None = Field(max_length=20)


def greet(visitor: Visitor) -> str:
    """Greets a visitor of the museum.

    Args:
        visitor: Who came.
    """
    return visitor.model_dump_json()
