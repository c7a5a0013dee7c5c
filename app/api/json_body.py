"""Reads a JSON body into a pydantic model, whatever its size."""

import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.types import Receive

from .bodies import Bodies, Body
from .form import Form
from .parser import BodyParser

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class JsonReader(Generic[M]):
    """pydantic parses a small body itself, in half the time, if it is valid. All others are parsed within `form`."""

    bodies: Bodies
    max_bytes: int
    form: Form
    model: type[M]
    validate: Callable[[Any], M]  # what was parsed within `form`
    texts: Callable[[M], Iterable[object]]  # for how much memory they take

    async def read(self, body: Body, receive: Receive) -> M:
        """Return the request; raise what `Body.read` and `validate` raise."""
        content = await body.read(receive, self.max_bytes, lambda: BodyParser(self.form))
        if isinstance(content, BodyParser):
            request = self.validate(content.value)
            body.resize(sum(map(sys.getsizeof, self.texts(request))))
            return request
        return await self.parse(content)

    async def parse(self, content: bytes) -> M:
        """Return the request of a small body; raise what `validate` raises."""
        try:
            return self.model.model_validate_json(content.removeprefix(BOM_UTF8))
        except ValidationError:
            parser = BodyParser(self.form)
        await self.bodies.parse(parser, content, is_last=True)
        return self.validate(parser.value)
