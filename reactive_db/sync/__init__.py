"""Sync: one store, many kernels. The protocol as frozen messages, and its two halves, without sockets.

client.py ─ requests ─► session.py        `ClientSession` asks and hears; `ServerSession` answers
replica.py ◄ transitions ─ publisher.py   `Replica` is the store as a kernel has it; `Publisher` knows who reads what
"""
