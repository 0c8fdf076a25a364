"""A switch for emulated machines: frames go where their address was last seen, else everywhere.

Qemu has a hub but no switch, and its user-mode network takes every packet it sees for its own, whatever the address
of the frame: on a hub it answers connections between two guests with a reset. Here it sees what is sent to it.

Each port is a listening unix socket that a `-netdev stream` connects to, and may leave and come back to. On the
socket a frame has its length before it, four bytes, high byte first.
"""

import selectors
import socket
import struct
import threading

LONGEST_FRAME = 65550 + 14


class Switch:
    def __init__(self, paths):
        self.selector = selectors.DefaultSelector()
        self.places = {}  # address -> port
        self.links = {}  # port -> socket
        self.pending = {}  # port -> bytes of an unfinished frame
        self.closing = False
        for path in paths:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen(1)
            self.selector.register(listener, selectors.EVENT_READ, (self.accept, path))
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        while not self.closing:
            for key, _ in self.selector.select(timeout=1):
                act, port = key.data
                act(port, key.fileobj)

    def close(self):
        self.closing = True
        self.thread.join()

    def accept(self, port, listener):
        self.drop(port)
        link, _ = listener.accept()
        link.settimeout(5)
        self.links[port], self.pending[port] = link, b""
        self.selector.register(link, selectors.EVENT_READ, (self.receive, port))

    def drop(self, port):
        link = self.links.pop(port, None)
        if link:
            self.selector.unregister(link)
            link.close()

    def receive(self, port, link):
        try:
            data = link.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.drop(port)
            return
        data = self.pending[port] + data
        while len(data) >= 4:
            (length,) = struct.unpack_from(">I", data)
            if length > LONGEST_FRAME:
                self.drop(port)
                return
            if len(data) < 4 + length:
                break
            self.forward(port, data[4:4 + length])
            data = data[4 + length:]
        self.pending[port] = data

    def forward(self, port, frame):
        target, source = frame[:6], frame[6:12]
        self.places[source] = port
        is_group = bool(target[:1]) and bool(target[0] & 1)
        known = None if is_group else self.places.get(target)
        for other in [known] if known else list(self.links):
            if other != port and other in self.links:
                try:
                    self.links[other].sendall(struct.pack(">I", len(frame)) + frame)
                except OSError:
                    self.drop(other)
