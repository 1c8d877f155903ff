"""Throw-away certificates for TLS on the loopback interface: a server's, and its clients'. Never for anything else."""

import datetime
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .process import TLSFiles


def make_certificate(folder: Path) -> TLSFiles:
    """A self-signed certificate for the loopback address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ip_address("127.0.0.1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TLSFiles(folder / "server.crt", folder / "server.key", folder / "server.crt")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """A client's certificate, which a server's authority has signed, and its key, plain and encrypted."""

    certificate: Path
    key: Path
    encrypted_key: Path
    password: str


def make_client_certificate(folder: Path, authority: TLSFiles, name: str) -> ClientFiles:
    """A certificate for the client called ``name``."""
    signer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    signing_key = serialization.load_pem_private_key(authority.key.read_bytes(), None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signing_key, hashes.SHA256())
    )
    files = ClientFiles(folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.locked.key", "open sesame")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    locks = {
        files.key: serialization.NoEncryption(),
        files.encrypted_key: serialization.BestAvailableEncryption(files.password.encode()),
    }
    for path, lock in locks.items():
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return files
