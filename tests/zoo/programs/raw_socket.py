"""Holds something that nobody can save, between iterations: a live socket."""

import random
import socket

random.seed(1)
here, there = socket.socketpair()
total = 0
for step in range(6):
    here.sendall(bytes([random.randrange(256)]))
    total += there.recv(1)[0]
    print(f"step {step} total {total}")

here.close()
there.close()
