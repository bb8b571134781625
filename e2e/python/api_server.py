"""What kube-apiserver does with an external signer of tokens (pkg/serviceaccount/externaljwt/plugin), in its order of calls:
Metadata, FetchKeys, then Sign for each token. Every check of the real one is here, and the signature is verified besides.

SOCKET is the signer's socket. ASKED is a JSON list of claims; an answer is printed for each: `token`, or `code` and `says`.
TOKEN_FILE, if given, gets the last token.
"""

import base64
import json
import os
import sys
import time

import grpc
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

# Made from protos/externaljwt.proto where the clients are installed.
sys.path.insert(0, os.environ["PROTOS"])
import externaljwt_pb2 as messages  # noqa: E402
import externaljwt_pb2_grpc as service  # noqa: E402

ALGORITHMS = {"RS256", "ES256", "ES384", "ES512"}


class Rejected(Exception):
    """An answer of the signer that an API server does not take."""


def check(holds: bool, problem: str) -> None:
    if not holds:
        raise Rejected(problem)


def decode(text: str) -> bytes:
    check("=" not in text, "base64url with padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(claims: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")


class ApiServer:
    def __init__(self, socket: str) -> None:
        options = [("grpc.default_authority", "localhost")]
        self.signer = service.ExternalJWTSignerStub(grpc.insecure_channel(f"unix:{socket}", options))
        metadata = self.signer.Metadata(messages.MetadataRequest(), wait_for_ready=True, timeout=60)
        self.max = metadata.max_token_expiration_seconds
        check(self.max >= 600, "max_token_expiration_seconds is less than 600")
        self.fetch()

    def fetch(self) -> None:
        answer = self.signer.FetchKeys(messages.FetchKeysRequest(), timeout=10)
        check(answer.refresh_hint_seconds > 0, "refresh_hint_seconds is not positive")
        check(answer.data_timestamp.seconds > 0, "no data_timestamp")
        check(len(answer.keys) > 0, "no keys")
        for key in answer.keys:
            check(0 < len(key.key_id.encode()) <= 1024, "a key_id of another length")
        self.keys = {
            key.key_id: (load_der_public_key(key.key), key.exclude_from_oidc_discovery)
            for key in answer.keys
        }

    def token(self, claims: object) -> str:
        payload = encode(claims)
        answer = self.signer.Sign(messages.SignJWTRequest(claims=payload), timeout=10)
        check(answer.signature != "", "empty signature")
        header = json.loads(decode(answer.header))
        check(set(header) <= {"alg", "kid", "typ"}, "header with other fields")
        check(header.get("typ") == "JWT", "typ is not JWT")
        check(0 < len(header.get("kid", "")) <= 1024, "kid has another length")
        check(header.get("alg") in ALGORITHMS, "alg is not allowed")
        if header["kid"] not in self.keys:
            self.fetch()
        check(header["kid"] in self.keys, "kid is unknown")
        key, excluded = self.keys[header["kid"]]
        check(not excluded, "key is excluded from discovery")
        verify(key, f"{answer.header}.{payload}".encode(), decode(answer.signature), header["alg"])
        return f"{answer.header}.{payload}.{answer.signature}"


def verify(key: object, signed: bytes, signature: bytes, algorithm: str) -> None:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            check(algorithm == "RS256", "alg is not the key's")
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey):
            check(algorithm == "ES256" and len(signature) == 64, "alg is not the key's")
            r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        else:
            raise Rejected("a key of another kind")
    except InvalidSignature:
        raise Rejected("signature does not verify") from None


def main() -> None:
    server = ApiServer(os.environ["SOCKET"])
    answers = []
    token = ""
    for asked in json.loads(os.environ["ASKED"]):
        now = int(time.time())
        lifetime = asked.pop("lifetime")
        claims = {"iat": now, "nbf": now, "exp": now + lifetime, **asked}
        try:
            token = server.token(claims)
            answers.append({"token": token})
        except Rejected as error:
            answers.append({"code": "REJECTED", "says": str(error)})
        except grpc.RpcError as error:
            answers.append({"code": error.code().name, "says": error.details()})
    if "TOKEN_FILE" in os.environ:
        with open(os.environ["TOKEN_FILE"], "w", encoding="ascii") as file:
            file.write(token)
    print(json.dumps({"max": server.max, "answers": answers}))


main()
