"""Receives spans with oteltap until stdin ends, and prints each as a line of JSON. The first line is the endpoint."""

import asyncio
import json
import socket
import sys

from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings


def value(any_value):
    kind = any_value.WhichOneof("value")
    return getattr(any_value, kind) if kind else None


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


async def receive():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=port)) as receiver:
        print(f"http://127.0.0.1:{port}", flush=True)

        async def show():
            async for span in receiver.stream_traces():
                print(
                    json.dumps(
                        {
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "kind": span.kind,
                            "start": span.start_time_unix_nano,
                            "end": span.end_time_unix_nano,
                            "attributes": attributes(span.attributes),
                            "events": [attributes(event.attributes) for event in span.events],
                            "links": [link.trace_id.hex() for link in span.links],
                        }
                    ),
                    flush=True,
                )

        showing = asyncio.create_task(show())
        await asyncio.to_thread(sys.stdin.read)
        # The collector is polled every quarter of a second.
        await asyncio.sleep(2)
        showing.cancel()


asyncio.run(receive())
