"""Bindings in processes of their own, behind the same interfaces.

    parent:  Isolation -> proxy operation -> Peer  ===greenroom.rpc: unix socket or TCP===  BindingHost -> operation
             (the composition root's)       (a child or a URL)                             (the child's event loop)

:mod:`service` declares what crosses. A stream has a websocket to itself for as long as it runs, so a stalled reader
holds up nobody else, and closing it is how a cancellation crosses.
"""
