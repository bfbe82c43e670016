"""Who asks Azure Blob Storage, and for which container. Secrets never show."""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from expmgr.connection_string import base_account, parse_connection_string, split_url
from expmgr.errors import CredentialsError
from expmgr.formatting import format_count
from expmgr.secrecy import forgets_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.storage.blob import BlobServiceClient

__all__ = ["AzureBlobCredentials"]

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(-[a-z0-9]+)*")
_WAYS = ("account_key", "sas_token", "token_credential")


class AzureBlobCredentials(BaseModel):
    """Access to one container of one storage account.

    Give exactly one of ``account_key``, ``sas_token`` and ``token_credential``. Nothing is sent
    when the object is made.

    Parameters
    ----------
    account_name
        Storage account: 3 to 24 lower-case letters and digits.
    account_key
        Shared key, as the portal shows it (base64).
    container_name
        Container: 3 to 63 lower-case letters, digits and single hyphens.
    sas_token
        Shared access signature, with or without its leading ``?``. Deleting needs the permissions
        to list and delete.
    token_credential
        An object of azure-identity, such as ``DefaultAzureCredential()``. Needs https.
    account_url
        Blob endpoint where it is not ``https://<account>.blob.core.windows.net``: Azurite,
        sovereign clouds, private endpoints.

    Raises
    ------
    CredentialsError
        Where the arguments cannot work, in words that hold no secret.

    Notes
    -----
    A copy in another process would be a copy of the secret, so pickling is refused; make the
    credentials again where they are needed (`from_env`).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    account_name: str
    account_key: SecretStr | None = None
    container_name: str
    sas_token: SecretStr | None = None
    token_credential: Any = Field(default=None, repr=False, exclude=True)
    account_url: str | None = None

    @forgets_arguments
    def __init__(self, **data: Any) -> None:
        problem = ""
        try:
            super().__init__(**data)
        except ValidationError as error:
            problem = _words(error)
        if problem:  # raised here, so that pydantic's error, which holds the input, is not attached
            raise CredentialsError(problem)

    @field_validator("account_name")
    @classmethod
    def _check_account_name(cls, value: str) -> str:
        if not _ACCOUNT.fullmatch(value):
            raise ValueError(
                f"account_name ({_size(value)}) is not a storage account name: "
                "3 to 24 lower-case letters and digits"
            )
        return value

    @field_validator("container_name")
    @classmethod
    def _check_container_name(cls, value: str) -> str:
        if not _CONTAINER.fullmatch(value):
            raise ValueError(
                f"container_name ({_size(value)}) is not a container name: 3 to 63 lower-case "
                "letters, digits and single hyphens, with a letter or digit at both ends"
            )
        return value

    @field_validator("account_key", "sas_token", mode="after")
    @classmethod
    def _drop_empty(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip().lstrip("?"):
            return None
        return SecretStr(value.get_secret_value().strip().lstrip("?"))

    @field_validator("account_url")
    @classmethod
    def _check_account_url(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        parts = split_url(value.strip())
        if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(
                "account_url must be a blob endpoint such as "
                "https://<account>.blob.core.windows.net or http://127.0.0.1:10000/<account>"
            )
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(
                "account_url must hold no query and no user: "
                "give a shared access signature as sas_token"
            )
        return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"

    @model_validator(mode="after")
    def _check_together(self) -> AzureBlobCredentials:
        given = [name for name in _WAYS if getattr(self, name) is not None]
        if not given:
            raise ValueError(
                "no way to authenticate: give account_key, sas_token or token_credential"
            )
        if len(given) > 1:
            raise ValueError(f"give one way to authenticate, not {len(given)}: {', '.join(given)}")
        if self.token_credential is not None:
            if not callable(getattr(self.token_credential, "get_token", None)):
                raise ValueError(
                    "token_credential must be a credential of azure-identity "
                    "(an object with get_token)"
                )
            if not self.endpoint.startswith("https://"):
                raise ValueError(
                    "token_credential needs an https account_url: "
                    "over plain http the token could be read on the way"
                )
        if self.sas_token is not None and "sig=" not in self.sas_token.get_secret_value():
            raise ValueError("sas_token holds no signature (sig=): give the whole token")
        host = urlsplit(self.endpoint).hostname or ""
        account, dot, rest = host.partition(".")
        if dot and rest.startswith("blob.core.") and base_account(account) != self.account_name:
            raise ValueError(
                f"account_url names the account {account!r}, account_name {self.account_name!r}"
            )
        return self

    @property
    def endpoint(self) -> str:
        """The blob endpoint, without a trailing slash."""
        return self.account_url or f"https://{self.account_name}.blob.core.windows.net"

    @classmethod
    @forgets_arguments
    def from_connection_string(cls, text: str, container_name: str) -> AzureBlobCredentials:
        """Read a connection string as the portal, Azurite and MLflow use it.

        Parameters
        ----------
        text
            ``AccountName=...;AccountKey=...`` or ``BlobEndpoint=...;SharedAccessSignature=...``;
            also ``UseDevelopmentStorage=true``.
        container_name
            The container.

        Raises
        ------
        CredentialsError
            Where the string is incomplete. The message does not repeat it.
        """
        return cls(container_name=container_name, **parse_connection_string(text))

    @classmethod
    @forgets_arguments
    def from_env(
        cls,
        container_name: str,
        *,
        account_name: str | None = None,
        account_url: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> AzureBlobCredentials:
        """Read the variables that MLflow reads, in MLflow's order.

        ``AZURE_STORAGE_CONNECTION_STRING``, then ``AZURE_STORAGE_ACCESS_KEY``, then
        ``DefaultAzureCredential`` of azure-identity (the ``identity`` extra).

        Parameters
        ----------
        container_name
            The container.
        account_name
            Needed unless the connection string names it; by default ``AZURE_STORAGE_ACCOUNT`` or
            ``AZURE_STORAGE_ACCOUNT_NAME`` is read.
        account_url
            Blob endpoint where it is not the public cloud's.
        environ
            Variables to read; the process's own by default.

        Raises
        ------
        CredentialsError
            Where nothing usable is set; it says which variables are read.
        """
        variables = os.environ if environ is None else environ
        text = variables.get("AZURE_STORAGE_CONNECTION_STRING")
        if text:
            return cls.from_connection_string(text, container_name)
        account = (
            account_name
            or variables.get("AZURE_STORAGE_ACCOUNT")
            or variables.get("AZURE_STORAGE_ACCOUNT_NAME")
        )
        if not account:
            raise CredentialsError(
                "no storage account: set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT "
                "with AZURE_STORAGE_ACCESS_KEY or a login that azure-identity finds"
            )
        key = variables.get("AZURE_STORAGE_ACCESS_KEY")
        if key:
            return cls(
                account_name=account,
                account_key=key,
                container_name=container_name,
                account_url=account_url,
            )
        try:
            from azure.identity import DefaultAzureCredential
        except ImportError as error:
            raise CredentialsError(
                "neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_ACCESS_KEY is set, and "
                "azure-identity is not installed: pip install 'expmgr[identity]'"
            ) from error
        return cls(
            account_name=account,
            container_name=container_name,
            token_credential=DefaultAzureCredential(),
            account_url=account_url,
        )

    def service_client(self, *, pool_size: int = 10, **kwargs: Any) -> BlobServiceClient:
        """Make a client of the account that does not retry by itself.

        Parameters
        ----------
        pool_size
            Connections kept open, at least the number of threads that will use the client.
        **kwargs
            Handed to ``BlobServiceClient``; ``transport=`` replaces ours.

        Returns
        -------
        azure.storage.blob.BlobServiceClient
            With ``retry_total=0`` (one retry layer, see `expmgr.retry`) and, where none is
            given, a transport that keeps a shared access signature out of logs and error
            messages (`expmgr.storage.transport`).

        Raises
        ------
        CredentialsError
            Where the account key is not base64.
        """
        from azure.core.credentials import AzureSasCredential
        from azure.storage.blob import BlobServiceClient

        from expmgr.storage.transport import Veil, quiet_transport

        options: dict[str, Any] = {
            "retry_total": 0,
            "connection_timeout": 20,
            "read_timeout": 60,
            **kwargs,
        }
        veil = None
        if "transport" not in options:
            veil = Veil(self.sas_token) if self.sas_token else None
            options["transport"] = quiet_transport(
                pool_size=pool_size,
                connection_timeout=options["connection_timeout"],
                read_timeout=options["read_timeout"],
                veil=veil,
            )
        credential = self._sdk_credential() if veil is None else AzureSasCredential(veil.sas)
        return BlobServiceClient(self.endpoint, credential=credential, **options)

    @forgets_arguments
    def _sdk_credential(self) -> Any:
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

        if self.token_credential is not None:
            return self.token_credential
        if self.sas_token is not None:
            # Only for a transport of somebody else's; ours knows the signature, see `Veil`.
            return AzureSasCredential(self.sas_token.get_secret_value())
        key = "" if self.account_key is None else self.account_key.get_secret_value()
        usable = True
        try:
            base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            usable = False
        if not usable:
            raise CredentialsError(
                f"account_key of {self.account_name} is not base64: copy it whole from the portal "
                "(Storage account, Access keys)"
            )
        return AzureNamedKeyCredential(self.account_name, key)

    def __copy__(self) -> AzureBlobCredentials:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> AzureBlobCredentials:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "AzureBlobCredentials are not pickled: a pickle would hold the secret. "
            "Make them again in the other process, with AzureBlobCredentials.from_env()"
        )


def _size(value: str) -> str:
    """Tell a refused value by its size: it may be a secret that was given in the wrong place."""
    return f"{format_count(len(value), 'character')} given"


def _words(error: ValidationError) -> str:
    """Say what was wrong without the input."""
    found = []
    for detail in error.errors(include_input=False, include_context=False, include_url=False):
        field = ".".join(str(part) for part in detail["loc"])
        text = detail["msg"].removeprefix("Value error, ")
        found.append(text if detail["type"] == "value_error" or not field else f"{field}: {text}")
    return "; ".join(found)
