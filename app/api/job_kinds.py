"""What differs between the routes that take jobs: the JSON, the form, and who reads them."""

from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from ..jobs import JobType
from ..types import Text
from .form import Form
from .invalid import BodyInvalid
from .job_schemas import InferenceJob, InferenceUpload
from .job_texts import body_parser, validate_job
from .parser import BodyParser
from .request import validate
from .training_schemas import TrainingJob, TrainingUpload

Content = bytes | BodyParser


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job. `validate` returns what a body says, and its texts if it has some."""

    name: JobType
    upload: type[InferenceUpload] | type[TrainingUpload]
    body_parser: Callable[[int], BodyParser]
    validate: Callable[[Content], tuple[InferenceJob | TrainingJob, Sequence[Text] | None]]


def _training_parser(max_bytes: int) -> BodyParser:
    return BodyParser(Form(TrainingJob.model_fields.keys(), max_bytes, small_fields=("source", "recipe")))


def _validate_training(content: Content) -> tuple[TrainingJob, None]:
    if isinstance(content, BodyParser):
        return validate(TrainingJob, content.value), None
    try:
        return TrainingJob.model_validate_json(content.removeprefix(BOM_UTF8)), None
    except ValidationError as error:
        raise BodyInvalid.from_pydantic(error, TrainingJob.model_fields) from None


INFERENCE = Kind("inference", InferenceUpload, body_parser, validate_job)
TRAINING = Kind("training", TrainingUpload, _training_parser, _validate_training)
