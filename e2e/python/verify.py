"""PyJWT: verifies the token against the published keys, and exchanges it at the stand-in."""

import os
import ssl

import jwt
import requests

from outcome import admitted, refused

try:
    token = open(os.environ["TOKEN_FILE"], encoding="ascii").read().strip()
    keys = jwt.PyJWKClient(
        os.environ["JWKS_URL"], ssl_context=ssl.create_default_context(cafile=os.environ["CA_FILE"])
    )
    jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["RS256", "ES256"],
        issuer=os.environ["ISSUER"],
        audience=os.environ["AUDIENCE"],
        subject=os.environ["SUBJECT"],
        options={"require": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]},
    )
    answer = requests.post(
        os.environ["STAND_IN_HTTP"] + "/v1/token",
        data={
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": os.environ["PROVIDER"],
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": token,
        },
        timeout=30,
    ).json()
    if "error" in answer:
        refused(f"{answer['error']}: {answer['error_description']}")
    else:
        admitted(answer["access_token"])
except jwt.PyJWTError as error:
    refused(f"{type(error).__name__}: {error}")
except FileNotFoundError as error:
    refused(f"no token: {error.filename}")
