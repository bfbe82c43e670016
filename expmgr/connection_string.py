"""Connection strings of Azure Storage, as the portal, Azurite and MLflow write them. Pure.

https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from expmgr.errors import CredentialsError

__all__ = ["base_account", "parse_connection_string", "split_url"]

# Azurite's account, as its README publishes it (it is the same on every machine, and no secret).
_EMULATOR_ACCOUNT = "devstoreaccount1"
_EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_EMULATOR = {
    "account_name": _EMULATOR_ACCOUNT,
    "account_key": _EMULATOR_KEY,
    "account_url": f"http://127.0.0.1:10000/{_EMULATOR_ACCOUNT}",
}


def parse_connection_string(text: str) -> dict[str, str | None]:
    """Return a connection string as arguments of ``AzureBlobCredentials``.

    Parameters
    ----------
    text
        ``AccountName=...;AccountKey=...`` or ``BlobEndpoint=...;SharedAccessSignature=...``; also
        ``UseDevelopmentStorage=true``. Names are compared without case.

    Raises
    ------
    CredentialsError
        Where it is not one, or names no account. The message does not repeat it.
    """
    settings = _settings(text)
    if settings.get("usedevelopmentstorage", "").lower() == "true":
        return {**_EMULATOR}
    endpoint = settings.get("blobendpoint")
    account = settings.get("accountname") or _account_of(endpoint)
    if not account:
        raise CredentialsError(
            "the connection string names no account: it needs AccountName or BlobEndpoint"
        )
    if endpoint is None and {"endpointsuffix", "defaultendpointsprotocol"} & settings.keys():
        protocol = settings.get("defaultendpointsprotocol", "https")
        suffix = settings.get("endpointsuffix", "core.windows.net")
        endpoint = f"{protocol}://{account}.blob.{suffix}"
    key = settings.get("accountkey")
    return {
        "account_name": account,
        "account_key": key,
        "sas_token": None if key else settings.get("sharedaccesssignature"),
        "account_url": endpoint,
    }


def split_url(text: str) -> SplitResult | None:
    """Take a URL apart; None where it is none."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts


def base_account(label: str) -> str:
    """Return the account of a host's first label (secondary and dual-stack hosts add to it)."""
    for suffix in ("-ipv6", "-dualstack", "-secondary"):
        label = label.removesuffix(suffix)
    return label


def _settings(text: str) -> dict[str, str]:
    pairs = [part.split("=", 1) for part in text.strip().strip(";").split(";") if part.strip()]
    if not pairs or any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004 - name and value
        raise CredentialsError(
            "the connection string is not made of name=value parts with ; between them"
        )
    return {name.strip().lower(): value.strip() for name, value in pairs}


def _account_of(endpoint: str | None) -> str:
    parts = split_url(endpoint) if endpoint else None
    if parts is None:
        return ""
    path = parts.path.strip("/")
    if path:
        return path.split("/")[0]
    return base_account((parts.hostname or "").partition(".")[0])
