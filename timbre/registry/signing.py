"""Ed25519 signatures of bundles: whoever promotes signs, whoever serves trusts a public key and not the machine that it came from.

    <home>/signing/key            the private key, PEM (PKCS #8), readable by its owner; `timbre sign --new-key`
    <home>/signing/key.pub        the public one, PEM, to be handed to whoever serves
    <home>/signatures/DIGEST.json {bundle, signer, signature}

What is signed is `b"timbre bundle\\n"` and the bundle's digest, which follows from the sha256 of each of its files but the measured
times. Why not model-signing: docs/adr/0015-signing.md.
"""

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.artifacts import IntegrityError, canonical_json, write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_CONTEXT = b"timbre bundle\n"


def key_file(home: Path) -> Path:
    """Where a home keeps its private key."""
    return home / "signing" / "key"


def new_key(path: Path) -> str:
    """Make a key pair, `path` and `path`.pub; the public key's fingerprint.

    Raises:
        ValueError: there is one already.
    """
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ValueError(f"{path} is there already, and servers may trust it: move it away first") from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()))
    public = key.public_key()
    path.with_name(f"{path.name}.pub").write_bytes(public.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo))
    return _fingerprint(public)


def sign(home: Path, bundle: str, key: Path) -> Path:
    """Sign a bundle's digest; the file of the signature.

    Raises:
        ValueError: there is no such key, or it is another kind of key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{key}: no private key that can be read ({error}); `timbre sign --new-key` makes one") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError(f"{key}: not an Ed25519 key; `timbre sign --new-key` makes one")
    signature = base64.b64encode(private.sign(_CONTEXT + bundle.encode())).decode()
    path = _file(home, bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, canonical_json({"bundle": bundle, "signer": _fingerprint(private.public_key()), "signature": signature}))
    return path


def sign_promoted(home: Path, bundle: str) -> None:
    """Sign what becomes champion, where this home has a key; nothing where it has none."""
    if (key := key_file(home)).exists():
        sign(home, bundle, key)


def check_signature(home: Path, bundle: str, trusted: Path) -> None:
    """Make sure that a bundle was signed by the key that is trusted.

    Raises:
        ValueError: `trusted` is no public key.
        IntegrityError: there is no signature, or it is another's or of another bundle.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(trusted.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{trusted}: no public key that can be read ({error})") from error
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError(f"{trusted}: not an Ed25519 public key; `timbre sign --new-key` writes one beside the private key")
    path = _file(home, bundle)
    try:
        signature = base64.b64decode(json.loads(path.read_bytes())["signature"], validate=True)
    except FileNotFoundError as error:
        raise IntegrityError(f"bundle {bundle[:12]} is not signed: `timbre sign` signs it where the key is") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not a readable signature") from error
    try:
        public.verify(signature, _CONTEXT + bundle.encode())
    except InvalidSignature as error:
        raise IntegrityError(f"{path}: not a signature of this bundle by the key {_fingerprint(public)[:16]} of {trusted.name}") from error


def _file(home: Path, bundle: str) -> Path:
    return home / "signatures" / f"{bundle}.json"


def _fingerprint(public: "Ed25519PublicKey") -> str:
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()
