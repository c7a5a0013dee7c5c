import logging
from collections.abc import Iterator

import pytest

from app.logs import logger


@pytest.fixture(autouse=True)
def logging_stays() -> Iterator[None]:
    """Commands configure the logs of their process, which here is that of all tests."""
    handlers, level, own_level = logging.root.handlers, logging.root.level, logger.level
    yield
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    logger.setLevel(own_level)
