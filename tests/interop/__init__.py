"""Tokens of real issuers through a real sidecar process; ``docs/interop.md`` says which.

``make interop`` puts the issuers into ``.interop`` (``setup``); without that the tests skip.
"""
