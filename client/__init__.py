"""The client of other Python services: typed, async, one handle a case.

It reads the books itself, so that it can say who decided what and when, and it writes what
no worker ever sees: which case a request id stands for, and refused attempts.
"""

from client.case import CaseHandle
from client.opening import Client

__all__ = ["CaseHandle", "Client"]
