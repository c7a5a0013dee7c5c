from collections.abc import Iterator

import pytest

from tests.support.jobs import JobsClient, Stack, running_stack


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("jobs")) as running:
        yield running


@pytest.fixture
def client(stack: Stack) -> Iterator[JobsClient]:
    client = JobsClient(stack.server)
    with client.http:
        yield client
