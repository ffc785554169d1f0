"""Bindings in processes of their own, behind the same interfaces.

    parent:  Isolation -> proxy operation -> Peer -> Link  ===unix or TCP===  Link -> Host -> the binding's operation
             (the composition root's)       (a child or a URL)                       (the child's event loop)

A stream has a connection to itself for as long as it runs, so a stalled reader holds up nobody else, and closing the
connection is how a cancellation crosses. Nothing but :mod:`link` and :mod:`handshake` knows of sockets.
"""
