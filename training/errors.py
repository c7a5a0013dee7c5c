"""What whoever runs a step can cause, and mend: texts, files, settings. The step ends with the message alone.

Any other error is a slip of ours and keeps its traceback. Errors of libraries about what they were given to read are
translated where they arise.
"""


class InputError(ValueError):
    """What was given cannot be used as it is; the message says what, and where it stands."""
