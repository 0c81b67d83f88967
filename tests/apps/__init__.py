"""Ordinary apps without auth code, one module for each server, that know no carrier.

Run as programs (``python -m tests.apps.<server> PORT ...``, port 0: the kernel chooses; the bound
port is the first line on standard output). What an app does for a request is in
``tests.apps.work``; what frameworks do differently from each other, in ``tests.apps.handoffs``.
"""
