"""Who gives the password of Redis, where that changes. redis-py's ``CredentialProvider`` and its kin are such."""

from typing import Protocol, TypeAlias


class CredentialProvider(Protocol):
    """Gives the password, or user and password, and may block."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Those of now; asked at each connect, in a thread."""
        ...


class AsyncCredentialProvider(Protocol):
    """The same on the event loop; preferred where a provider is both."""

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Those of now; asked at each connect."""
        ...


AnyCredentialProvider: TypeAlias = CredentialProvider | AsyncCredentialProvider
