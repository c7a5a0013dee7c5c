from tests.integration.jobs.conftest import client, stack

__all__ = ["client", "stack"]
