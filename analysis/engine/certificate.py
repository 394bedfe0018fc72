"""The certificate by which a server and its own workers know each other. It is made for one run and stays in memory."""

import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.security import Security


def temporary_security() -> "Security":
    """TLS for one run, as dask's `Security.temporary()`; but valid whatever the clock says, which may be put back after
    the start: a worker that has to be replaced could not connect for so long.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from distributed.security import Security

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sinkscope")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("sinkscope")]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(1970, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    roles = {
        f"tls_{role}_{part}": text
        for role in ("client", "scheduler", "worker")
        for part, text in (("key", private), ("cert", public))
    }
    return Security(require_encryption=True, tls_ca_file=public, **roles)
