"""Asks a gate as Envoy does (ext_authz v3), with Envoy's own protocol.

GATE is its address. ASKED is a JSON list of `body` and `extensions`; an answer is printed for each: `code` of the status, `http` (the
status of a denial, or 0), `body` and `headers`.
"""

import json
import os

import grpc
from envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2, external_auth_pb2_grpc


def request(body: str, extensions: dict) -> external_auth_pb2.CheckRequest:
    context = attribute_context_pb2.AttributeContext
    http = context.HttpRequest(
        id="1",
        method="POST",
        path="/token",
        host="issuer.example.com",
        scheme="https",
        protocol="HTTP/1.1",
        size=len(body),
        headers={"content-type": "application/x-www-form-urlencoded", ":method": "POST"},
        body=body,
    )
    attributes = context(
        request=context.Request(http=http), context_extensions=extensions
    )
    attributes.source.address.socket_address.address = "192.0.2.7"
    attributes.source.address.socket_address.port_value = 4711
    attributes.request.time.GetCurrentTime()
    return external_auth_pb2.CheckRequest(attributes=attributes)


gate = external_auth_pb2_grpc.AuthorizationStub(grpc.insecure_channel(os.environ["GATE"]))
answers = []
for asked in json.loads(os.environ["ASKED"]):
    answer = gate.Check(
        request(asked["body"], asked["extensions"]), wait_for_ready=True, timeout=20
    )
    denied = answer.denied_response
    headers = answer.ok_response.headers if answer.HasField("ok_response") else denied.headers
    answers.append(
        {
            "code": answer.status.code,
            "http": denied.status.code,
            "body": denied.body,
            "headers": {option.header.key: option.header.value for option in headers},
        }
    )
print(json.dumps(answers))
