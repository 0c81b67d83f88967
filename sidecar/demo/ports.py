"""Which ports the tour's programs listen on: the README's if they are free, else others."""

from dataclasses import dataclass, fields, replace

from sidecar.testbed.ports import free_ports, is_free


@dataclass(frozen=True, slots=True)
class Ports:
    """One port for each listener of the tour; the defaults are the ones the README shows."""

    identity_provider: int = 9000
    user_service: int = 8080
    user_inbound: int = 15406
    user_outbound: int = 9001
    user_admin: int = 15490
    profile_service: int = 8081
    profile_inbound: int = 15416
    profile_admin: int = 15491

    @classmethod
    def unusual(cls) -> "Ports":
        """Free ports nobody expects, so that several tours can run at once."""
        names = [each.name for each in fields(cls)]
        return cls(**dict(zip(names, free_ports(len(names)), strict=True)))

    def taken(self) -> list[int]:
        """Those of these ports on which something listens already."""
        return [port for port in self.all() if not is_free(port)]

    def without(self, taken: list[int]) -> "Ports":
        """The same ports, with free ones in place of those *taken*."""
        spare = Ports.unusual()
        return replace(
            self,
            **{
                each.name: getattr(spare, each.name)
                for each in fields(self)
                if getattr(self, each.name) in taken
            },
        )

    def all(self) -> list[int]:
        """All of them, in the order of the fields."""
        return [getattr(self, each.name) for each in fields(self)]
