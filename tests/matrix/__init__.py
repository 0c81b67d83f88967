"""Every call names its true user: does the destination see that one's token, another's, or none?

A *cell* is one server, client, style and grade. ``test_gate`` runs the cells that a change to the
carrier is most likely to break; ``make matrix`` runs all of them and writes what it saw to
``docs/attribution-matrix.md``.
"""
