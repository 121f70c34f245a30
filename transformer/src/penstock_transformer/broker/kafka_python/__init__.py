"""The broker's port on kafka-python, the default client: all Python, so that it runs wherever Python does.

Imported here first, with its use of functions that Python 3.11 calls deprecated (and 3.13 no longer does) kept quiet.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    import kafka  # noqa: F401
