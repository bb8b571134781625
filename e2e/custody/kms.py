"""moto's server, with the one thing of AWS KMS that it lacks: `MessageType=DIGEST` (its documentation says so).

Without this it hashes what it is to sign also where that is a SHA-256 already, and so signs other bytes.
"""

import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.server import main

SHA256 = utils.Prehashed(hashes.SHA256())


def digest(message: bytes) -> bytes:
    assert len(message) == 32, "expected a SHA-256"
    return message


def sign_rsa(self, message, signing_algorithm):
    assert signing_algorithm == "RSASSA_PKCS1_V1_5_SHA_256", signing_algorithm
    return self.private_key.sign(digest(message), padding.PKCS1v15(), SHA256)


def sign_ecdsa(self, message, signing_algorithm):
    assert signing_algorithm == "ECDSA_SHA_256", signing_algorithm
    return self.private_key.sign(digest(message), ec.ECDSA(SHA256))


RSAPrivateKey.sign = sign_rsa
ECDSAPrivateKey.sign = sign_ecdsa
main(sys.argv[1:])
