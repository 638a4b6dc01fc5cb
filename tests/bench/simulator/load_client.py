"""A client that costs little: bare sockets over a few kept connections, in a process of its own.

    python load_client.py PORT CONNECTIONS SECONDS BROKER

Prints requests, errors and seconds. It sends bytes made beforehand and reads answers by their Content-Length, so that
on a machine of two cores the server has one for itself.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

UPSTOX_BODY = json.dumps(
    {
        "quantity": 1, "product": "I", "validity": "DAY", "price": 0, "tag": "", "order_type": "MARKET",
        "instrument_token": "NSE_EQ|INE062A01020", "transaction_type": "BUY", "disclosed_quantity": 0,
        "trigger_price": 0.0, "is_amo": False, "slice": False,
    }
)  # fmt: skip
FYERS_BODY = json.dumps(
    {
        "symbol": "NSE:SBIN-EQ", "qty": 1, "type": 2, "side": -1, "productType": "INTRADAY", "limitPrice": 0,
        "stopPrice": 0, "disclosedQty": 0, "validity": "DAY", "offlineOrder": False, "stopLoss": 0, "takeProfit": 0,
    }
)  # fmt: skip


def request(method: str, path: str, authorization: str, body: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return (head + "\r\n" + body).encode()


REQUESTS = {
    "upstox": [request("POST", "/v3/order/place", "Bearer demo-upstox-token", UPSTOX_BODY)],
    "fyers": [request("POST", "/api/v3/orders/sync", "DEMO0001-100:demo-fyers-token", FYERS_BODY)],
    "reads": [
        request("GET", "/v3/market-quote/ltp?instrument_key=NSE_EQ%7CINE062A01020", "Bearer demo-upstox-token"),
        request("GET", "/api/v3/positions", "DEMO0001-100:demo-fyers-token"),
    ],
}


class Connection:
    """One kept connection: it asks, waits for the whole answer, asks again."""

    def __init__(self, port: int, kinds: list[bytes]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kinds = kinds
        self._held = b""
        self.done = self.errors = 0

    def ask(self) -> None:
        self.socket.sendall(self._kinds[self.done % len(self._kinds)])

    def take(self) -> bool:
        """Read what there is; True when the answer is whole."""
        self._held += self.socket.recv(1 << 20)
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]):
            return False
        self.errors += not head.startswith(b"HTTP/1.1 200 ")
        self.done += 1
        self._held = b""
        return True


def main(port: int, connections: int, seconds: float, kind: str) -> None:
    selector = selectors.DefaultSelector()
    every = [Connection(port, REQUESTS[kind]) for _ in range(connections)]
    start = time.perf_counter()
    for one in every:
        selector.register(one.socket, selectors.EVENT_READ, one)
        one.ask()
    waiting = len(every)
    while waiting:
        for key, _ in selector.select():
            if key.data.take():
                if time.perf_counter() - start < seconds:
                    key.data.ask()
                else:
                    waiting -= 1
    took = time.perf_counter() - start
    print(json.dumps([sum(one.done for one in every), sum(one.errors for one in every), took]))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
