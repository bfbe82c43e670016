"""Which account and container a BlobStore speaks for, and the hosts that are the same account."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from expmgr.credentials import AzureBlobCredentials

__all__ = ["AccountHost", "Store", "parse_host"]

# Hosts of storage accounts: the public and sovereign clouds
# (https://learn.microsoft.com/azure/storage/common/storage-account-overview#standard-endpoints),
# with the private-link form and the secondary, ipv6 and dual-stack forms of the first label.
_CLASSIC = re.compile(
    r"(?P<account>[a-z0-9]{3,24})(-secondary)?(-ipv6|-dualstack)?\."
    r"(privatelink\.)?(?P<service>blob|dfs)\."
    r"(?P<cloud>core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net|cloudapi\.de))"
)
# Accounts with DNS zone endpoints: <account>.z00..z99.blob.storage.azure.net
_ZONAL = re.compile(
    r"(?P<account>[a-z0-9]{3,24})(-secondary)?\.z\d{1,2}\."
    r"(privatelink\.)?(?P<service>blob|dfs)\.(?P<cloud>storage\.azure\.net)"
)
# The two public domains are one cloud: an account has either kind of endpoint, never both.
_CLOUDS = {"storage.azure.net": "core.windows.net"}


@dataclass(frozen=True)
class AccountHost:
    """A host name of Azure Blob Storage, taken apart.

    Attributes
    ----------
    account
        Storage account.
    service
        ``blob`` or ``dfs``.
    cloud
        ``core.windows.net``, ``core.chinacloudapi.cn``, ...: account names are unique in a cloud,
        not across clouds.
    """

    account: str
    service: str
    cloud: str


@lru_cache(maxsize=256)
def parse_host(host: str) -> AccountHost | None:
    """Return what a host name says, None where it is not a host of a storage account."""
    match = _CLASSIC.fullmatch(host.lower()) or _ZONAL.fullmatch(host.lower())
    if match is None:
        return None
    cloud = match["cloud"]
    return AccountHost(match["account"], match["service"], _CLOUDS.get(cloud, cloud))


@dataclass(frozen=True)
class Store:
    """One container of one account: all that expmgr may touch.

    Attributes
    ----------
    account
        Storage account name.
    container
        Container name.
    endpoint
        Blob endpoint without a trailing slash.
    """

    account: str
    container: str
    endpoint: str

    @classmethod
    def of(cls, credentials: AzureBlobCredentials) -> Store:
        """Return the store that credentials give access to."""
        return cls(
            account=credentials.account_name,
            container=credentials.container_name,
            endpoint=credentials.endpoint,
        )

    @property
    def cloud(self) -> str | None:
        """The cloud of the endpoint; None for Azurite, private names and custom domains."""
        host = parse_host(urlsplit(self.endpoint).hostname or "")
        return None if host is None else host.cloud

    def __str__(self) -> str:
        return f"container {self.container!r} of account {self.account!r}"
