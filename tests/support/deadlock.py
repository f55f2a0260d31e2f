"""A Python program whose two threads wait for each other for ever, once it has said `begins`."""

DEADLOCK = """\
import threading
a, b, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def first():
    with a:
        both.wait()
        b.acquire()
def second():
    with b:
        both.wait()
        a.acquire()
threading.Thread(target=first).start()
print("begins", flush=True)
second()
"""
