"""The commands, a module for each kind of caller, and what they share.

A module's head imports only what its commands' signatures need. The books, Temporal and the policy
engine take a second to import; a command that does without them, or its ``--help``, does not wait
for them. So they are imported where they are used.
"""
