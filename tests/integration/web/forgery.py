"""Access tokens that nobody may accept, each made from a good one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import jwt


def forge(kind: str, good: str, secret: str) -> str:
    """Return the good token changed as the kind says."""
    claims = jwt.decode(good, options={"verify_signature": False})
    now = int(time.time())
    if kind.startswith("without "):
        return _sign(
            {k: v for k, v in claims.items() if k != kind.removeprefix("without ")}, secret
        )
    changed = {
        "of another audience": {"aud": "other-api"},
        "of another issuer": {"iss": "other"},
        "expired": {"exp": now - 60},
        "not valid yet": {"nbf": now + 600},
        "of the future": {"iat": now + 600},
        "of an odd subject": {"sub": "admin"},
        "with a number as subject": {"sub": 1},
        "with an operator as family": {"fam": {"$ne": None}},
        "of another version": {"ver": 7},
        "with a version of text": {"ver": "0"},
        "of an unknown kind": {"type": "admin"},
        "of nobody": {"sub": "usr_" + "0" * 32},
    }
    if kind in changed:
        return _sign(claims | changed[kind], secret)
    head, body, signature = good.split(".")
    return {
        "signed with another key": lambda: _sign(claims, "another key of at least 32 characters"),
        "signed with HS512": lambda: jwt.encode(claims, secret * 2, "HS512"),
        "with algorithm none": lambda: f"{_part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "with algorithm NONE": lambda: f"{_part({'alg': 'NONE'})}.{body}.{signature}",
        "claiming RS256": lambda: sign({"alg": "RS256", "typ": "JWT"}, claims, secret),
        "claiming no algorithm": lambda: sign({"typ": "JWT"}, claims, secret),
        "tampered with": lambda: f"{head}.{_part(claims | {'ver': 9})}.{signature}",
        "unsigned": lambda: f"{head}.{body}.",
        "of two parts": lambda: f"{head}.{body}",
        "of no parts": lambda: "nonsense",
        "empty": lambda: "",
        "of an opaque body": lambda: f"{head}.bm90IGpzb24.{signature}",
        "of a list": lambda: f"{head}.{_encode(b'[]')}.{signature}",
        "of endless depth": lambda: f"{head}.{_encode(b'[' * 5000)}.{signature}",
        "with an endless header": lambda: f"{_encode(b'[' * 5000)}.{body}.{signature}",
    }[kind]()


KINDS = [
    *(f"without {name}" for name in ("exp", "nbf", "iat", "jti", "iss", "aud", "sub", "type")),
    "without fam",
    "without ver",
    "of another audience",
    "of another issuer",
    "expired",
    "not valid yet",
    "of the future",
    "of an odd subject",
    "with a number as subject",
    "with an operator as family",
    "of another version",
    "with a version of text",
    "of an unknown kind",
    "of nobody",
    "signed with another key",
    "signed with HS512",
    "with algorithm none",
    "with algorithm NONE",
    "claiming RS256",
    "claiming no algorithm",
    "tampered with",
    "unsigned",
    "of two parts",
    "of no parts",
    "empty",
    "of an opaque body",
    "of a list",
    "of endless depth",
    "with an endless header",
]


def _sign(claims, secret):
    """Sign without PyJWT's own check of what the claims hold."""
    return sign({"alg": "HS256", "typ": "JWT"}, claims, secret)


def sign(header, claims, secret):
    signed = f"{_part(header)}.{_part(claims)}"
    mac = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encode(mac)}"


def _part(value):
    return _encode(json.dumps(value).encode())


def _encode(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
